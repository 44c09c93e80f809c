"""What Alembic runs. Banned here: imports from the rest of the package but its tables."""
