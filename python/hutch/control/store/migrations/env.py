"""Alembic's way in: it runs this file, with the connection to work on in its configuration."""

from __future__ import annotations

from alembic import context

from hutch.control.store.tables import METADATA

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    transactional_ddl=True,
)
# The caller's transaction is the one: it ends it.
context.run_migrations()
