"""The three standard streams, whatever the process was started with.

Belongs here: what is done where one is closed, full, or has lost its reader. Banned here: what is
said, and the log (`log`).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from typing import Final

import click

_STREAMS: Final = (("stdin", "r"), ("stdout", "w"), ("stderr", "w"))


def open_standard_streams() -> None:
    """Has descriptors 0 to 2 that are closed lead nowhere.

    Else the next thing opened gets the number, and a log line goes into a client's connection. To
    be called before anything is opened.
    """
    for descriptor, (name, mode) in enumerate(_STREAMS):
        try:
            os.fstat(descriptor)
        except OSError:
            _lead_nowhere(descriptor)
            setattr(sys, name, os.fdopen(descriptor, mode, closefd=False))


def greet(lines: Iterable[str]) -> None:
    """Tells whoever started a server what it does, if they listen.

    A launcher may read one line, the address, and close the pipe: that is no reason to end.
    """
    try:
        for line in lines:
            click.echo(line)
    except OSError:
        # What is still in the buffer would make an error of an orderly end.
        _lead_nowhere(sys.stdout.fileno())


def _lead_nowhere(descriptor: int) -> None:
    nowhere = os.open(os.devnull, os.O_RDWR)
    if nowhere != descriptor:
        os.dup2(nowhere, descriptor)
        os.close(nowhere)
