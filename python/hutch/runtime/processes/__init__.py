"""Processes: how commands and terminals are started, reached and ended.

Belongs here: what the services that run programs share. Banned here: their output, their ids,
what anybody asked for.

`programs` says which file a word names, `surroundings` in what environment and as whom it runs,
`start` starts it; `cgroups` and `sessions` hold what it starts in turn, both reached through
`tree`; `remains` waits for the last of them.
"""
