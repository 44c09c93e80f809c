"""What every command that serves has: its listening options, its limits, its log, its errors.

Belongs here: options that more than one command takes, made from the configuration's fields.
Banned here: what one command alone takes, and what is done with any of it.
"""

from __future__ import annotations

import errno
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

import click

from hutch.cli.log import PatientHandler
from hutch.wire.config import ServerLimits, limit_fields
from hutch.wire.errors import Failure

F = TypeVar("F", bound=Callable[..., Any])


def limit_options(limits: type[ServerLimits]) -> Callable[[F], F]:
    """An option and an environment variable for each limit of the class."""

    def add(command: F) -> F:
        for one in reversed(limit_fields(limits)):
            command = click.option(
                one.option,
                one.name,
                envvar=one.variable,
                type=one.kind,
                default=one.default,
                show_default=True,
                show_envvar=True,
                help=one.text,
            )(command)
        return command

    return add


def listening_options(port: int) -> Callable[[F], F]:
    """`--host` and `--port`, with the default of the command."""

    def add(command: F) -> F:
        host = click.option(
            "--host", default="127.0.0.1", show_default=True, help="Address to listen on."
        )
        number = port_option("--port", port, "Port to listen on; 0 picks a free one.")
        return host(number(command))

    return add


def port_option(name: str, port: int, text: str) -> Callable[[F], F]:
    """An option that takes a port."""
    return click.option(
        name, default=port, show_default=True, type=click.IntRange(0, 65535), help=text
    )


def certificate_options(command: F) -> F:
    """`--tls-cert` and `--tls-key`."""
    pem = click.Path(path_type=Path, dir_okay=False)
    certificate = click.option(
        "--tls-cert", type=pem, help="PEM file of the certificate chain, read again on SIGHUP."
    )
    key = click.option("--tls-key", type=pem, help="PEM file of its key, without a password.")
    return certificate(key(command))


def tls_options(command: F) -> F:
    """These, and `--behind-tls-proxy`: for servers that face a network."""
    proxy = click.option(
        "--behind-tls-proxy",
        is_flag=True,
        help="Listen on any address without TLS: a proxy in front speaks it.",
    )
    return certificate_options(proxy(command))


ready_file_option = click.option(
    "--ready-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help='Receives {"url","pid","instance"} once the server listens, and the url of each other '
    "listener.",
)

state_dir_option = click.option(
    "--state-dir",
    type=click.Path(path_type=Path, file_okay=False),
    help="What outlives the process; /var/lib/hutch as root, else $XDG_STATE_HOME/hutch.",
)


def require_extra(extra: str, *modules: str) -> None:
    """Raises ClickException, saying what to install, where a module's packages are missing."""
    for module in modules:
        try:
            import_module(module)
        except ModuleNotFoundError as error:
            if error.name is None or error.name.startswith("hutch"):
                raise
            package = error.name.partition(".")[0]
            raise click.ClickException(
                f"{package} is missing; install it with: pip install 'hutch[{extra}]'"
            ) from None


def start_log() -> None:
    """Has the process log to standard error, held up by no reader."""
    handlers = [PatientHandler(sys.stderr.fileno())]
    logging.basicConfig(handlers=handlers, level=logging.INFO, format="%(message)s")
    # They tell of each request and each step; our own log has a line for what matters.
    for name in ("alembic", "httpx2"):
        logging.getLogger(name).setLevel(logging.WARNING)


@contextmanager
def sentences() -> Iterator[None]:
    """Errors that a person can mend leave as one sentence, without a traceback."""
    try:
        yield
    except Failure as failure:
        raise click.ClickException(failure.message) from None
    except OSError as error:
        raise click.ClickException(_sentence(error)) from None


def _sentence(error: OSError) -> str:
    where = "" if error.filename is None else f"{error.filename}: "
    is_taken = error.errno == errno.EADDRINUSE
    out = "; end what listens there, or give another port (0 picks a free one)"
    return f"{where}{error.strerror or error}{out if is_taken else ''}"
