"""`hutch control`: the control plane, and what is done to its records beside it.

Belongs here: options, printing. Banned here: what they do (`hutch.control`).
Source: wire contract, section 0.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource

from hutch.cli.options import (
    limit_options,
    listening_options,
    port_option,
    ready_file_option,
    require_extra,
    sentences,
    start_log,
    tls_options,
)
from hutch.cli.secrets import take_from_environment
from hutch.cli.streams import greet
from hutch.wire.config import check_exposure, check_host, check_limits, check_origins
from hutch.wire.control.config import ControlConfig, ControlLimits, check_network, control_config

if TYPE_CHECKING:
    from hutch.control.serve import Facing, Standing
    from hutch.control.store.engine import Store
    from hutch.control.vault import Vault

F = TypeVar("F", bound=Callable[..., Any])


def _records_options(command: F) -> F:
    """Where the records are; the server and the commands beside it take the same."""
    state_dir = click.option(
        "--state-dir",
        type=click.Path(path_type=Path, file_okay=False),
        help="What outlives the process; /var/lib/hutch/control as root, else "
        "$XDG_STATE_HOME/hutch/control.",
    )
    database = click.option(
        "--database",
        help="SQLAlchemy URL, HUTCH_DATABASE works too; control.db in the state directory, if "
        "neither is given.",
    )
    key = click.option(
        "--key-file",
        type=click.Path(path_type=Path, dir_okay=False),
        help="Key that secrets at rest are under, made at first start; secret.key in the state "
        "directory, if not given. Keep a copy: without it the database is of no use.",
    )
    return state_dir(database(key(command)))


@click.group(invoke_without_command=True)
@listening_options(9970)
@click.option(
    "--internal-host",
    default="127.0.0.1",
    show_default=True,
    help="Address to listen on for gateways.",
)
@port_option("--internal-port", 9971, "Port to listen on for gateways; 0 picks a free one.")
@click.option(
    "--internal-token-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File with the credential of gateways, made at first start; gateway.token in the state "
    "directory, if not given.",
)
@_records_options
@click.option(
    "--network",
    default="127.1.0.0/16",
    show_default=True,
    help="Addresses that workspaces get, each its own, within 127.0.0.0/8.",
)
@click.option(
    "--allow-origin",
    "allow_origins",
    multiple=True,
    help="Origin whose pages may ask; '*' for all. May be given more than once.",
)
@ready_file_option
@tls_options
@limit_options(ControlLimits)
@click.pass_context
def control(
    context: click.Context,
    /,
    *,
    host: str,
    tls_cert: Path | None,
    tls_key: Path | None,
    behind_tls_proxy: bool,
    network: str,
    internal_host: str,
    allow_origins: tuple[str, ...],
    state_dir: Path | None,
    database: str | None,
    **rest: Any,
) -> None:
    """Start the control plane: workspaces, who may reach them, and how.

    Workspaces are processes of this machine (`hutch serve`), each with a directory and an address
    of its own. That isolates nothing: run only what you would run yourself. They run on when the
    control plane ends, and it finds them again. SIGTERM and SIGINT end it within ten seconds,
    SIGHUP has it read the certificate again.
    """
    if context.invoked_subcommand is not None:
        _refuse_options(context)
        return
    # Before anything that might start a thread: its password is nobody else's business.
    database = take_from_environment("HUTCH_DATABASE") if database is None else database
    _require_extra()
    with sentences():
        from hutch.control.serve import Facing  # noqa: PLC0415  # the extra may be missing
        from hutch.server import Tls  # noqa: PLC0415

        names = {name: rest.pop(name) for name in tuple(rest) if name in _OTHERS}
        limits = check_limits(ControlLimits(**rest))
        tls = Tls.opened(tls_cert, tls_key, limits)
        for option, one in (("--host", host), ("--internal-host", internal_host)):
            check_exposure(
                check_host(one, option=option),
                is_secure=tls is not None,
                is_behind_proxy=behind_tls_proxy,
                option=option,
            )
        config = control_config(
            _state_dir(state_dir),
            database=database,
            host=host,
            internal_host=internal_host,
            network=check_network(network),
            allow_origins=check_origins(allow_origins),
            limits=limits,
            **names,
        )
        _run(config, Facing(tls=tls, behind_proxy=behind_tls_proxy))


def _refuse_options(context: click.Context) -> None:
    """Raises UsageError for an option before a command's name: nothing would heed it."""
    for one in context.command.params:
        if context.get_parameter_source(str(one.name)) is ParameterSource.COMMANDLINE:
            raise click.UsageError(
                f"{one.opts[0]} stands before '{context.invoked_subcommand}' and is the server's; "
                "give a command its options after its name"
            )


_OTHERS = frozenset({"port", "internal_port", "internal_token_file", "key_file", "ready_file"})


def _require_extra() -> None:
    require_extra("control", "hutch.control.serve")


def _state_dir(given: Path | None) -> Path:
    from hutch.state import default_state_dir  # noqa: PLC0415  # not at import

    # Beside the runtime's: both may run on one machine.
    return (given or default_state_dir() / "control").absolute()


def _run(config: ControlConfig, facing: Facing) -> None:
    import trio  # noqa: PLC0415  # the extra may be missing

    from hutch.control.serve import serve_control  # noqa: PLC0415

    start_log()

    def ready(standing: Standing) -> None:
        greet(
            (
                f"hutch control listens on {standing.url}",
                f"for gateways on {standing.internal_url}",
                f"their credential is in {config.internal_token_file}",
            )
        )

    warn = logging.getLogger("hutch").warning
    trio.run(lambda: serve_control(config, facing=facing, ready=ready, warn=warn))


@contextmanager
def _opened(
    state_dir: Path | None, database: str | None, key_file: Path | None
) -> Iterator[tuple[ControlConfig, Store, Vault]]:
    """The records, for a command; the server may run meanwhile."""
    database = take_from_environment("HUTCH_DATABASE") if database is None else database
    _require_extra()
    from hutch.control.composition import open_records  # noqa: PLC0415  # the extra may be missing

    with sentences():
        config = control_config(_state_dir(state_dir), database=database, key_file=key_file)
        with open_records(config) as (store, vault):
            yield config, store, vault


@control.group()
def client() -> None:
    """Make, list and remove clients."""


@client.command("create")
@click.option("--name", default="", help="A word for people.")
@_records_options
def create_client(name: str, **where: Any) -> None:
    """Make a client; its secret is printed once and kept by nobody.

    The server may run or not. Prints two lines that a shell understands.
    """
    with _opened(**where) as (_, store, vault):
        from hutch.control.clients import creating  # noqa: PLC0415  # the extra may be missing

        made = store.write_now(creating(vault, name))
    click.echo(f"OBLIEN_CLIENT_ID={made.id}")
    click.echo(f"OBLIEN_CLIENT_SECRET={made.secret}")


@client.command("list")
@_records_options
def list_clients(**where: Any) -> None:
    """List clients, the oldest first."""
    with _opened(**where) as (_, store, _vault):
        from hutch.control.store import clients  # noqa: PLC0415  # the extra may be missing

        for one in store.read_now(clients.every):
            click.echo(f"{one.id}\t{one.name}")


@client.command("delete")
@click.argument("identifier")
@_records_options
def delete_client(identifier: str, **where: Any) -> None:
    """Remove a client that has no workspaces."""
    with _opened(**where) as (_, store, _vault):
        from hutch.control.clients import deleting  # noqa: PLC0415  # the extra may be missing

        store.write_now(deleting(identifier))
    click.echo(f"{identifier} is gone")


@control.group()
def keys() -> None:
    """The keys that sign gateway tokens."""


@keys.command("rotate")
@_records_options
def rotate_keys(**where: Any) -> None:
    """Put a new signing key in force.

    The server may run: it takes it at once. What the old key signed is good until it expires.
    """
    with _opened(**where) as (_, store, vault):
        from hutch.control.signing import rotating  # noqa: PLC0415  # the extra may be missing

        kid = store.write_now(rotating(vault))
    click.echo(f"tokens are signed with {kid} from now on")
