"""Speeds and memory, measured beside floors and rivals in one interleaved run.

Belongs here: trees, floors, rivals, the table of promises. Banned here: assertions about time
(no test is timed), and numbers that were not measured in the same run as what they are
compared with.
"""
