"""What goes over the wire: requests, answers, errors, configuration.

Belongs here: frozen types and the functions that parse and encode them, one file per
resource. Banned here: I/O of any kind, and imports of anything else of ours.
"""
