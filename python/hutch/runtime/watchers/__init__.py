"""Watchers: the extension's engine, who listens to it, and what is asked of it.

Belongs here: `watchers` (the service), `listeners`. Banned here: HTTP, sockets.
"""
