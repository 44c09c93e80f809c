"""`hutch serve`: the runtime.

Belongs here: its options, where its token comes from, what it prints. Banned here: what it
does (`hutch.runtime.serve`). Source: wire contract, section 0.
"""

from __future__ import annotations

import logging
import os
import shlex
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote_from_bytes

import click

from hutch.cli.options import (
    limit_options,
    listening_options,
    ready_file_option,
    require_extra,
    sentences,
    start_log,
    state_dir_option,
)
from hutch.cli.secrets import take_from_environment
from hutch.cli.streams import greet
from hutch.wire.config import (
    RIPGREP_URL,
    Config,
    Limits,
    check_host,
    check_limits,
    check_origins,
    check_ripgrep_url,
)


@click.command()
@listening_options(9990)
@click.option(
    "--token-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File with the token, read again on SIGHUP. HUTCH_TOKEN works too; without either one "
    "is made and kept in the state directory.",
)
@state_dir_option
@click.option(
    "--cwd",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="Working directory of commands; /root where it is there, else the home directory.",
)
@click.option(
    "--allow-origin",
    "allow_origins",
    multiple=True,
    help="Origin whose pages may ask; '*' for all. May be given more than once.",
)
@ready_file_option
@click.option(
    "--ripgrep-url",
    envvar="HUTCH_RIPGREP_URL",
    default=RIPGREP_URL,
    show_default=True,
    show_envvar=True,
    help="Where POST /files/search/init downloads from, laid out as ripgrep's GitHub releases.",
)
@click.option(
    "--ripgrep-dir",
    envvar="HUTCH_RIPGREP_DIR",
    type=click.Path(path_type=Path, file_okay=False),
    default="/usr/local/bin",
    show_default=True,
    show_envvar=True,
    help="Where it puts rg; where that cannot be written, the state directory's bin.",
)
@click.option(
    "--end-leftovers",
    is_flag=True,
    help="Only end what a server that was killed left running; no port is opened.",
)
@click.option(
    "--allow-debug-build", is_flag=True, help="Serve with an unoptimised extension all the same."
)
@limit_options(Limits)
def serve(
    *,
    host: str,
    port: int,
    token_file: Path | None,
    state_dir: Path | None,
    cwd: Path | None,
    allow_origins: tuple[str, ...],
    ready_file: Path | None,
    ripgrep_url: str,
    ripgrep_dir: Path,
    end_leftovers: bool,
    allow_debug_build: bool,
    **limits: float,
) -> None:
    """Start the runtime.

    Prints its address and, to a terminal, a curl line that works. SIGTERM and SIGINT end it within
    ten seconds, SIGHUP has it read the token file again. An option counts before its environment
    variable; a limit in seconds says after how long.
    """
    # Before anything that might start a thread or log.
    given = take_from_environment("HUTCH_TOKEN")
    _require_server(allow_debug_build=allow_debug_build)
    with sentences():
        config = _config(
            given,
            host=check_host(host),
            port=port,
            token_file=token_file,
            state_dir=state_dir,
            cwd=(cwd or _default_cwd()).absolute(),
            allow_origins=check_origins(allow_origins),
            ready_file=ready_file,
            ripgrep_url=check_ripgrep_url(ripgrep_url),
            ripgrep_dir=ripgrep_dir.absolute(),
            limits=check_limits(Limits(**limits)),  # type: ignore[arg-type]  # click made the types
        )
        _run(config, only_ends=end_leftovers)


def _require_server(*, allow_debug_build: bool) -> None:
    require_extra("server", "hutch.runtime.serve")
    from hutch import _native  # noqa: PLC0415  # the extra may be missing

    if _native.DEBUG and not allow_debug_build:
        raise click.ClickException(
            "the extension is a debug build, many times slower; build it with "
            "'maturin develop --release', or give --allow-debug-build"
        )


def _default_cwd() -> Path:
    root = Path("/root")
    try:
        return root if root.is_dir() and any(True for _ in root.iterdir()) else Path.home()
    except PermissionError:
        return Path.home()


def _config(given: str | None, *, token_file: Path | None, **rest: Any) -> Config:
    from hutch import state  # noqa: PLC0415  # the extra may be missing

    state_dir = rest.pop("state_dir") or state.default_state_dir()
    if token_file is not None:
        token = state.read_token(token_file)
    elif given is not None:
        token = state.check_token(given, source="HUTCH_TOKEN")
    else:
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        token, token_file = state.own_token(state_dir)
    return Config(token=token, token_file=token_file, state_dir=state_dir, **rest)


def _run(config: Config, *, only_ends: bool) -> None:
    import trio  # noqa: PLC0415  # the extra may be missing

    from hutch.runtime.serve import end_leftovers, serve_runtime  # noqa: PLC0415
    from hutch.server import Running  # noqa: PLC0415

    start_log()
    if only_ends:
        trio.run(end_leftovers, config)
        return

    def ready(running: Running) -> None:
        greet(_greeting(config, running.url))

    trio.run(lambda: serve_runtime(config, ready=ready, warn=logging.getLogger("hutch").warning))


def _greeting(config: Config, url: str) -> list[str]:
    lines = [f"hutch listens on {url}"]
    # The token goes only to a terminal: elsewhere the output is somebody's log.
    if not sys.stdout.isatty():
        known = config.token_file
        return lines if known is None else [*lines, f"the token is in {known}"]
    path = quote_from_bytes(os.fsencode(config.cwd))
    request = shlex.quote(f"{url}/files/stream?path={path}&max_depth=1")
    # One that came by the environment is not shown: whoever gave it may have hidden it.
    header = '"Authorization: Bearer $HUTCH_TOKEN"'
    if config.token_file is not None:
        header = shlex.quote(f"Authorization: Bearer {config.token}")
    return [*lines, f"curl -N -H {header} {request}"]
