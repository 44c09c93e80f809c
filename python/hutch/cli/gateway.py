"""`hutch gateway`: the way into workspaces from outside.

Belongs here: its options, what it prints. Banned here: what it does (`hutch.gateway.serve`).
Source: wire contract, sections 0 and 10.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import click

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
from hutch.cli.streams import greet
from hutch.wire.config import check_exposure, check_host, check_limits, check_origins
from hutch.wire.gateway import (
    NETWORKS,
    STALE_SECONDS,
    GatewayConfig,
    GatewayLimits,
    check_control_url,
    check_stale,
    parse_networks,
)

if TYPE_CHECKING:
    from hutch.gateway.serve import Listening


@click.command()
@click.option(
    "--control-url",
    envvar="HUTCH_CONTROL_URL",
    required=True,
    show_envvar=True,
    help="The control plane's internal listener, http://HOST:PORT.",
)
@click.option(
    "--control-token-file",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="File with the credential for it, read again on SIGHUP.",
)
@listening_options(9980)
@click.option(
    "--admin-host",
    default="127.0.0.1",
    show_default=True,
    help="Address of the second listener: /metrics, /keys, /health, and /auth for nginx.",
)
@port_option("--admin-port", 9981, "Its port; 0 picks a free one.")
@tls_options
@click.option(
    "--network",
    "networks",
    multiple=True,
    default=NETWORKS,
    show_default=True,
    help="Network that workspaces live in: nothing outside is ever dialled. May be given more "
    "than once.",
)
@click.option(
    "--allow-origin",
    "allow_origins",
    multiple=True,
    default=("*",),
    show_default=True,
    help="Origin whose pages may ask; '*' for all. May be given more than once.",
)
@click.option(
    "--stale-for",
    default=STALE_SECONDS,
    show_default=True,
    type=float,
    help="Seconds for which what is known counts while the control plane is away.",
)
@ready_file_option
@limit_options(GatewayLimits)
def gateway(
    *,
    control_url: str,
    control_token_file: Path,
    host: str,
    port: int,
    admin_host: str,
    admin_port: int,
    tls_cert: Path | None,
    tls_key: Path | None,
    behind_tls_proxy: bool,
    networks: tuple[str, ...],
    allow_origins: tuple[str, ...],
    stale_for: float,
    ready_file: Path | None,
    **limits: float,
) -> None:
    """Start the gateway.

    Every path of its port leads to a workspace: the token of a request says which. SIGTERM and
    SIGINT end it within ten seconds, SIGHUP has it read its certificate and credential again.
    """
    require_extra("gateway", "hutch.gateway.serve")
    from hutch.state import read_token  # noqa: PLC0415  # the extra may be missing

    with sentences():
        is_secure = tls_cert is not None
        check_exposure(check_host(host), is_secure=is_secure, is_behind_proxy=behind_tls_proxy)
        # Never with TLS: who asks it is a proxy or a monitor beside it.
        check_exposure(
            check_host(admin_host, option="--admin-host"),
            is_secure=False,
            is_behind_proxy=behind_tls_proxy,
            option="--admin-host",
        )
        config = GatewayConfig(
            host=host,
            port=port,
            admin_host=admin_host,
            admin_port=admin_port,
            control_url=check_control_url(control_url),
            credential=read_token(control_token_file),
            control_token_file=control_token_file,
            networks=parse_networks(networks),
            allow_origins=check_origins(allow_origins),
            stale_for=check_stale(stale_for),
            tls_cert=tls_cert,
            tls_key=tls_key,
            behind_tls_proxy=behind_tls_proxy,
            ready_file=ready_file,
            limits=check_limits(GatewayLimits(**limits)),  # type: ignore[arg-type]  # as click made
        )
        _run(config)


def _run(config: GatewayConfig) -> None:
    import trio  # noqa: PLC0415  # the extra may be missing

    from hutch.gateway.serve import serve_gateway  # noqa: PLC0415

    start_log()

    def ready(listening: Listening) -> None:
        greet((f"hutch gateway listens on {listening.url}, for operators {listening.admin_url}",))

    warn = logging.getLogger("hutch").warning
    trio.run(lambda: serve_gateway(config, ready=ready, warn=warn))
