"""The first tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Makes every table, and the one row of `meta`."""
    _clients()
    _workspaces()
    _around_workspaces()
    _gateways()


def _clients() -> None:
    meta = op.create_table(
        "meta",
        sa.Column("id", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("vault", sa.String(64)),
        sa.PrimaryKeyConstraint("id", name="pk_meta"),
    )
    op.bulk_insert(meta, [{"id": 1, "seq": 0}])
    op.create_table(
        "clients",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("digest", sa.LargeBinary, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_clients"),
    )


def _workspaces() -> None:
    op.create_table(
        "workspaces",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("client_id", sa.String(64), nullable=False),
        sa.Column("slug", sa.String(128)),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("mode", sa.String(16), nullable=False),
        sa.Column("image", sa.String(512), nullable=False),
        sa.Column("namespace", sa.String(128)),
        sa.Column("logo", sa.Text),
        sa.Column("resources", sa.Text, nullable=False),
        sa.Column("config", sa.Text, nullable=False),
        sa.Column("wanted", sa.String(16), nullable=False),
        sa.Column("made", sa.String(16), nullable=False),
        sa.Column("problem", sa.Text),
        sa.Column("ip", sa.String(45), nullable=False),
        sa.Column("port", sa.Integer, nullable=False),
        sa.Column("sealed", sa.LargeBinary, nullable=False),
        sa.Column("generation", sa.BigInteger, nullable=False),
        sa.Column("enabled", sa.Boolean, nullable=False),
        sa.Column("policy", sa.Text, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("updated_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_workspaces"),
        sa.ForeignKeyConstraint(["client_id"], ["clients.id"], name="fk_workspaces_client_id"),
        sa.UniqueConstraint("client_id", "slug", name="uq_workspaces_client_id_slug"),
    )
    op.create_index("ix_workspaces_client_id_created_at", "workspaces", ["client_id", "created_at"])


def _around_workspaces() -> None:
    op.create_table(
        "links",
        sa.Column("workspace_id", sa.String(64), nullable=False),
        sa.Column("peer_id", sa.String(64), nullable=False),
        sa.Column("position", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("workspace_id", "peer_id", name="pk_links"),
        sa.ForeignKeyConstraint(["workspace_id"], ["workspaces.id"], name="fk_links_workspace_id"),
        sa.ForeignKeyConstraint(["peer_id"], ["workspaces.id"], name="fk_links_peer_id"),
    )
    op.create_index("ix_links_peer_id", "links", ["peer_id"])
    op.create_table(
        "addresses",
        sa.Column("number", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("workspace_id", sa.String(64)),
        sa.Column("released_at", sa.BigInteger),
        sa.PrimaryKeyConstraint("number", name="pk_addresses"),
    )
    op.create_index("ix_addresses_workspace_id", "addresses", ["workspace_id"])
    op.create_table(
        "requests",
        sa.Column("client_id", sa.String(64), nullable=False),
        sa.Column("key", sa.String(128), nullable=False),
        sa.Column("fingerprint", sa.LargeBinary, nullable=False),
        sa.Column("workspace_id", sa.String(64), nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("client_id", "key", name="pk_requests"),
    )
    op.create_index("ix_requests_created_at", "requests", ["created_at"])


def _gateways() -> None:
    op.create_table(
        "signing_keys",
        sa.Column("kid", sa.String(64), nullable=False),
        sa.Column("sealed", sa.LargeBinary, nullable=False),
        sa.Column("x", sa.String(64), nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("retired_at", sa.BigInteger),
        sa.PrimaryKeyConstraint("kid", name="pk_signing_keys"),
    )
    op.create_table(
        "changes",
        sa.Column("seq", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("workspace_id", sa.String(64)),
        sa.PrimaryKeyConstraint("seq", name="pk_changes"),
    )
