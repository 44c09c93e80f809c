"""`hutch up`: a whole platform on one machine.

Belongs here: its options, what it prints. Banned here: what it does (`hutch.up`).
Source: wire contract, section 0.
"""

from __future__ import annotations

import logging
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from hutch.cli.options import (
    certificate_options,
    port_option,
    ready_file_option,
    require_extra,
    sentences,
    start_log,
    state_dir_option,
)
from hutch.cli.streams import greet
from hutch.wire.control.config import check_network, control_config

if TYPE_CHECKING:
    from hutch.up import Up, UpConfig

_CURL: Final = "curl -fsS"
_CREDENTIALS: Final = (
    '-H "X-Client-ID: $OBLIEN_CLIENT_ID" -H "X-Client-Secret: $OBLIEN_CLIENT_SECRET"'
)
_PICK: Final = r"""sed -E 's/.*"token":"([^"]+)".*/\1/'"""


@click.command()
@port_option("--control-port", 9970, "Port of the control plane; 0 picks a free one.")
@port_option("--gateway-port", 9980, "Port of the gateway; 0 picks a free one.")
@state_dir_option
@click.option(
    "--network",
    default="127.1.0.0/16",
    show_default=True,
    help="Addresses that workspaces get, each its own, within 127.0.0.0/8.",
)
@certificate_options
@ready_file_option
def up(
    *,
    control_port: int,
    gateway_port: int,
    state_dir: Path | None,
    network: str,
    tls_cert: Path | None,
    tls_key: Path | None,
    ready_file: Path | None,
) -> None:
    """Start control plane and gateway, for a laptop or a test.

    Prints how to make a workspace and to reach it. Workspaces are processes of this machine: that
    isolates nothing. Everything listens on loopback; SIGTERM and SIGINT end it, workspaces too,
    SIGHUP has it read its certificate again. What is on record stays, and the next start brings
    it back.
    """
    require_extra("control", "hutch.up")
    from hutch.server import Tls  # noqa: PLC0415  # the extra may be missing
    from hutch.state import default_state_dir  # noqa: PLC0415  # the extra may be missing
    from hutch.up import UpConfig  # noqa: PLC0415

    with sentences():
        # The same as `hutch control` has: what is made with one is there with the other.
        place = (state_dir or default_state_dir() / "control").absolute()
        control = control_config(
            place, port=control_port, internal_port=0, network=check_network(network)
        )
        config = UpConfig(
            control=control,
            gateway_port=gateway_port,
            tls=Tls.opened(tls_cert, tls_key),
            ready_file=ready_file,
        )
        _run(config)


def _run(config: UpConfig) -> None:
    import trio  # noqa: PLC0415  # the extra may be missing

    from hutch.up import own_client, serve_up  # noqa: PLC0415

    start_log()
    client = own_client(config)

    def ready(told: Up) -> None:
        greet(_greeting(config, told))

    warn = logging.getLogger("hutch").warning
    trio.run(lambda: serve_up(config, client, ready=ready, warn=warn))


def _greeting(config: UpConfig, told: Up) -> list[str]:
    """What a shell can run, line by line: a workspace is made, opened, and listed."""
    env = shlex.quote(str(config.client_file))
    workspace = f"{told.control_url}/workspace"
    steps = (
        f'-d \'{{"name":"first","idempotency_key":"first"}}\' {workspace}',
        f"-X PATCH -d '{{\"public_access\":true}}' {workspace}/first/network",
        f"-X POST {workspace}/first/runtime-api-access/enable",
    )
    make, publish, enable = (f"{_CURL} {_CREDENTIALS} {one}" for one in steps)
    listing = f'"{told.gateway_url}/files?path=/etc"'
    return [
        f"# control plane {told.control_url}, gateway {told.gateway_url}",
        f"set -a; . {env}; set +a  # the client: its id and secret",
        make,
        publish,
        f"TOKEN=$({enable} | {_PICK})",
        f'{_CURL} -H "Authorization: Bearer $TOKEN" {listing}',
    ]
