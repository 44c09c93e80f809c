"""The tables, as the newest migration leaves them; a test holds the two together.

Times are microseconds since 1970, JSON is text, secrets are sealed or digested (`control.vault`).
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

METADATA: Final = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# One row: `seq` of the last change (locked by every write, so that changes are seen in order), and
# which key file the secrets are under.
META: Final = Table(
    "meta",
    METADATA,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("seq", BigInteger, nullable=False),
    Column("vault", String(64)),
)

CLIENTS: Final = Table(
    "clients",
    METADATA,
    Column("id", String(64), primary_key=True),
    Column("name", String(255), nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Column("created_at", BigInteger, nullable=False),
)

WORKSPACES: Final = Table(
    "workspaces",
    METADATA,
    Column("id", String(64), primary_key=True),
    Column("client_id", String(64), ForeignKey("clients.id"), nullable=False),
    Column("slug", String(128)),
    Column("name", String(255), nullable=False),
    Column("mode", String(16), nullable=False),
    Column("image", String(512), nullable=False),
    Column("namespace", String(128)),
    Column("logo", Text),
    Column("resources", Text, nullable=False),
    Column("config", Text, nullable=False),
    Column("wanted", String(16), nullable=False),
    Column("made", String(16), nullable=False),
    Column("problem", Text),
    Column("ip", String(45), nullable=False),
    Column("port", Integer, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    Column("generation", BigInteger, nullable=False),
    Column("enabled", Boolean, nullable=False),
    Column("policy", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    UniqueConstraint("client_id", "slug"),
    Index(None, "client_id", "created_at"),
)

LINKS: Final = Table(
    "links",
    METADATA,
    Column("workspace_id", String(64), ForeignKey("workspaces.id"), primary_key=True),
    Column("peer_id", String(64), ForeignKey("workspaces.id"), primary_key=True),
    Column("position", Integer, nullable=False),
    Index(None, "peer_id"),
)

# `released_at` while nobody has it.
ADDRESSES: Final = Table(
    "addresses",
    METADATA,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("workspace_id", String(64)),
    Column("released_at", BigInteger),
    Index(None, "workspace_id"),
)

# The workspace may be gone: the key then still says that it was used.
REQUESTS: Final = Table(
    "requests",
    METADATA,
    Column("client_id", String(64), primary_key=True),
    Column("key", String(128), primary_key=True),
    Column("fingerprint", LargeBinary, nullable=False),
    Column("workspace_id", String(64), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Index(None, "created_at"),
)

KEYS: Final = Table(
    "signing_keys",
    METADATA,
    Column("kid", String(64), primary_key=True),
    Column("sealed", LargeBinary, nullable=False),
    Column("x", String(64), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("retired_at", BigInteger),
)

# A row without a workspace marks a start.
CHANGES: Final = Table(
    "changes",
    METADATA,
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("workspace_id", String(64)),
)
