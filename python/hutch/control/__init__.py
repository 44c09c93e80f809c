"""The control plane: which workspaces there are, who owns them, who may reach them.

Belongs here: rules, the store, drivers (how a workspace is run), the API for clients and the one
for gateways. Banned here: bytes of workspaces (the gateway forwards them), and what happens inside
of one. Source: wire contract, section 9.
"""
