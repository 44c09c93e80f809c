"""HTTP of the control plane: rows of the tables, and who may ask, in front of them.

Belongs here: parse, apply, answer. Banned here: decisions about workspaces.
"""
