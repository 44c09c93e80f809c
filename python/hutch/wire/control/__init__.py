"""The control plane on the wire: what clients ask of it, and what gateways do.

Belongs here: shapes, answers, configuration, one file a resource; no I/O. Source: wire contract,
sections 0 and 9.
"""
