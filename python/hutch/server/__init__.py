"""provisional"""

from __future__ import annotations
from dataclasses import dataclass
from typing import Any
import trio
from hypercorn.config import Config
from hypercorn.trio import serve as hserve
from hutch.wire.config import Limits


@dataclass(frozen=True)
class Running:
    url: str


@dataclass(frozen=True)
class ServerConfig:
    host: str
    port: int
    limits: Limits


async def serve(app: Any, config: ServerConfig, *, shutdown: trio.Event, task_status: Any) -> None:
    c = Config()
    c.bind = [f"{config.host}:{config.port}"]
    async with trio.open_nursery() as n:
        binds = await n.start(
            lambda task_status: hserve(
                app, c, shutdown_trigger=shutdown.wait, mode="asgi", task_status=task_status
            )
        )
        task_status.started(Running(binds[0]))
