"""How a workspace is run: one protocol, and a module for each way.

Belongs here: starting, stopping, reaching what a workspace is made of. Banned here: the store, and
who may ask. A driver is told what should be, and brings it about; it decides nothing.
"""
