"""Terminals: pseudo-terminals with a program in them, and who listens to them.

Belongs here: the service (`service`) and what it is made of. Banned here: HTTP, WebSockets, JSON.

From the bottom up: `scrollback` keeps what a terminal wrote, `keyboard` what it has not read yet;
`session` is one terminal, from its start (`launch`) to its end; `listener` is one client of all
terminals, a cursor into each; `ids` gives numbers, `ledger` remembers across a crash.
"""
