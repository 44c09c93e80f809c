"""Watchers: the extension's engine, who listens to it, and what is asked of it.

Belongs here: from the bottom up, `watching` (one watcher), `listeners`, `answers`, `watchers` (the
service). Banned here: HTTP, sockets.
"""
