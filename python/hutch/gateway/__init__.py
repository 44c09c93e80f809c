"""The gateway: the one way into workspaces from outside.

Belongs here: verifying tokens, finding the workspace, passing bytes, ending what was revoked.
Banned here: the control plane's store (it is asked, by its internal listener), Quart, knowledge of
any endpoint of a workspace. Source: wire contract, section 10.
"""
