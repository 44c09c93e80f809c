"""Asking a workspace's server whether it is the one that is meant.

Belongs here: requests to servers in workspaces. Banned here: starting and stopping them.
"""

from __future__ import annotations

import httpx2

from hutch.control.drivers.driver import Plan

_SECONDS = 2.0


class Reach:
    """A client for the servers in workspaces; it follows nothing and uses no proxy."""

    def __init__(self) -> None:
        # Kept connections would be those of an old token.
        limits = httpx2.Limits(max_keepalive_connections=0)
        self._http = httpx2.AsyncClient(trust_env=False, timeout=_SECONDS, limits=limits)

    async def accepts(self, plan: Plan) -> bool:
        """Whether the server answers to the plan's token."""
        headers = {"Authorization": f"Bearer {plan.token}"}
        try:
            answer = await self._http.get(f"{_url(plan)}/runtime", headers=headers)
        except httpx2.HTTPError:
            return False
        return answer.status_code == httpx2.codes.OK

    async def aclose(self) -> None:
        """Closes what is open."""
        await self._http.aclose()


def _url(plan: Plan) -> str:
    host = f"[{plan.ip}]" if ":" in plan.ip else plan.ip
    return f"http://{host}:{plan.port}"
