"""What a gateway token says.

Belongs here: the claims, complete and checked. Banned here: keys and bytes.
Source: reference, "Gateway connection": the token embeds the workspace's private IP and port.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import Annotated, Final, Literal

from msgspec import Meta, Struct

ISSUER: Final = "hutch"
AUDIENCE: Final = "hutch-gateway"

Seconds = Annotated[int, Meta(ge=0, le=2**53)]


class Claims(Struct, frozen=True, kw_only=True):
    """The claims of one gateway token.

    `sub` is the workspace's id, `ip` and `port` where its server listens, `gen` the generation of
    the workspace's tokens (those of an older one are void), `jti` the token's own id. `iat`, `nbf`
    and `exp` are seconds since 1970.
    """

    iss: Literal["hutch"] = ISSUER
    aud: Literal["hutch-gateway"] = AUDIENCE
    sub: Annotated[str, Meta(min_length=1, max_length=128)]
    ip: Annotated[str, Meta(min_length=2, max_length=45)]
    port: Annotated[int, Meta(ge=1, le=65535)]
    gen: Annotated[int, Meta(ge=0, le=2**53)]
    jti: Annotated[str, Meta(min_length=1, max_length=128)]
    iat: Seconds
    nbf: Seconds
    exp: Seconds

    def __post_init__(self) -> None:
        # Raises ValueError, which msgspec turns into its own: one spelling of an address only, so
        # that comparing texts compares addresses.
        if str(ip_address(self.ip)) != self.ip:
            raise ValueError("ip: not an address in its usual spelling")
