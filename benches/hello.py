"""The yardstick of small requests: a Quart-Trio hello on unmodified Hypercorn.

Belongs here: the smallest app and the server as its documentation starts it. Banned here:
anything of ours, and any tuning. Prints its port, serves until SIGTERM.
`python benches/hello.py`
"""

from __future__ import annotations

import os
import signal
import socket

import trio
from hypercorn.config import Config
from hypercorn.trio import serve
from quart_trio import QuartTrio

app = QuartTrio(__name__)


@app.route("/hello")
async def hello() -> dict[str, str]:
    """Answers with a small JSON object."""
    return {"hello": "world"}


async def main() -> None:
    """Serves on a free port of 127.0.0.1."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = Config()
    config.bind = [f"fd://{os.dup(listener.fileno())}"]
    config.errorlog = None
    print(listener.getsockname()[1], flush=True)
    with trio.open_signal_receiver(signal.SIGTERM) as signals:

        async def told_to_end() -> None:
            async for _ in signals:
                return

        await serve(app, config, shutdown_trigger=told_to_end)


if __name__ == "__main__":
    trio.run(main)
