"""The `hutch` command.

Belongs here: options, environment, printing, exit codes. Banned here: everything that a
program using the package as a library would want.
"""

from __future__ import annotations

import click

from hutch.cli.control import control
from hutch.cli.gateway import gateway
from hutch.cli.serve import serve
from hutch.cli.streams import open_standard_streams
from hutch.cli.up import up


@click.group(context_settings={"max_content_width": 100})
@click.version_option(package_name="hutch")
def main() -> None:
    """A workspace runtime: the server inside a microVM that gives a coding agent its hands."""
    open_standard_streams()


main.add_command(gateway)
main.add_command(serve)
main.add_command(up)
main.add_command(control)
