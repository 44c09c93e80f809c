"""What a client's leaving and a client's stalling look like to the code that serves it.

Belongs here: the exceptions that the whole room and its callers share. Banned here: I/O.
"""

from __future__ import annotations

from typing import Final

from hutch.wire.errors import Failure


class ClientGone(Exception):  # noqa: N818  # nothing is wrong with the server
    """The client went away, or was sent away because it took nothing; the work ends.

    Not an OSError: code that translates system errors of its files must not catch it. It may
    leave the application; the server closes the connection and logs nothing.
    """


class AnswerBegun(Exception):  # noqa: N818  # as above
    """A second answer was tried where one had begun: the connection is closed, unfinished.

    `status` is that of the answer that could not be given.
    """

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


_REQUEST_TIMEOUT: Final = 408


class RequestStalled(Failure):
    """The client did not send its request in time: code `timeout`, but status 408.

    504 would blame what stands behind this server, and a gateway would pass it on as such.
    """

    def __init__(self, message: str) -> None:
        super().__init__("timeout", message)

    @property
    def status(self) -> int:
        """Request Timeout (RFC 9110, section 15.5.9)."""
        return _REQUEST_TIMEOUT
