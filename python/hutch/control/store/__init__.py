"""The store: what outlives every process, in any database that SQLAlchemy speaks to.

Belongs here: tables, migrations, queries, transactions. Banned here: decisions; anything that
only one database understands outside of `engine`. Queries are functions of a connection, so that
whoever decides puts several into one transaction.
"""
