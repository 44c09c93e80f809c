"""Passing a request on to another HTTP server, and its answer back, as they come.

Belongs here: what the port proxy and the gateway share: dialling, connections that are kept,
bodies that stream both ways, upgrades. Banned here: whom a request is for and who may ask (the
caller says so, by an `Upstream` and an `Edit`), tokens, Quart.

`Forwarder.carry` is the door:

    forwarder = Forwarder(limits, kept=Pool(limits))
    await forwarder.carry(exchange, upstream, edit)

Bytes are never gathered: a piece is read when the other side took the last one. What is hop by
hop is removed and made anew (RFC 9110, section 7.6.1), all else passes: order, case and bytes of
headers, reason phrase, trailers, informational answers, an abort as an abort. Every `Failure`
raised here says in `may_have_arrived` whether the upstream may have seen the request.
"""

from __future__ import annotations

from hutch.forward.ending import Ending
from hutch.forward.forwarder import Forwarder
from hutch.forward.heads import Edit, Head, Headers
from hutch.forward.link import Upstream
from hutch.forward.pool import Pool

__all__ = ["Edit", "Ending", "Forwarder", "Head", "Headers", "Pool", "Upstream"]
