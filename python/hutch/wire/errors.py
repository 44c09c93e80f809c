"""Errors as part of the interface: the closed set of codes and the one table to statuses.

Belongs here: `Failure`, the table, and the translation of system errors into failures.
Banned here: building HTTP answers (`hutch.server`) and anything that knows a request.
Source: wire contract, section 1, "error body".
"""

from __future__ import annotations

import errno
from collections.abc import Mapping, Sequence
from typing import Final, Literal, get_args

import msgspec

Code = Literal[
    "bad_request",
    "unauthorized",
    "forbidden",
    "not_found",
    "method_not_allowed",
    "conflict",
    "precondition_failed",
    "too_large",
    "range_not_satisfiable",
    "rate_limited",
    "unsupported",
    "unavailable",
    "bad_gateway",
    "timeout",
    "insufficient_storage",
    "internal",
]

STATUS: Final[Mapping[Code, int]] = {
    "bad_request": 400,
    "unauthorized": 401,
    "forbidden": 403,
    "not_found": 404,
    "method_not_allowed": 405,
    "conflict": 409,
    "precondition_failed": 412,
    "too_large": 413,
    "range_not_satisfiable": 416,
    "rate_limited": 429,
    # 400, not 501: a client must not take it for a server that has no such endpoint.
    "unsupported": 400,
    "unavailable": 503,
    "bad_gateway": 502,
    "timeout": 504,
    "insufficient_storage": 507,
    "internal": 500,
}

CODE: Final[Mapping[int, Code]] = {
    status: code for code, status in STATUS.items() if code != "unsupported"
}

if set(STATUS) != set(get_args(Code)):
    raise AssertionError("a code without a status")


class Failure(Exception):  # noqa: N818  # the house's word: a request failed, the server did not
    """A request that cannot be answered as asked, and why.

    `message` is a sentence for a person with the path or value at fault. `extra` adds fields
    to the error body (the current `hash` of a 412, say); `headers` adds response headers.
    """

    def __init__(
        self,
        code: Code,
        message: str,
        *,
        extra: Mapping[str, object] | None = None,
        headers: Sequence[tuple[bytes, bytes]] = (),
    ) -> None:
        super().__init__(code, message)
        self.code: Code = code
        self.message = message
        self.extra: Mapping[str, object] = extra or {}
        self.headers = tuple(headers)

    @property
    def status(self) -> int:
        """The HTTP status of the code."""
        return STATUS[self.code]


_SHOWN: Final = 1000

_ERRNO: Final[Mapping[int, tuple[Code, str]]] = {
    errno.ENOENT: ("not_found", "no such file or directory"),
    errno.ENOTDIR: ("bad_request", "not a directory"),
    errno.EISDIR: ("bad_request", "is a directory"),
    errno.EEXIST: ("bad_request", "exists already"),
    errno.EACCES: ("forbidden", "permission denied"),
    errno.EPERM: ("forbidden", "operation not permitted"),
    errno.EROFS: ("forbidden", "read-only file system"),
    errno.ENAMETOOLONG: ("bad_request", "path: a name in it, or the whole, is too long"),
    errno.EINVAL: ("bad_request", "not possible for this file"),
    errno.ELOOP: ("bad_request", "too many levels of symbolic links"),
    errno.ENXIO: ("bad_request", "not a regular file"),
    errno.ENODEV: ("bad_request", "not a regular file"),
    errno.EBUSY: ("conflict", "busy"),
    errno.EXDEV: ("conflict", "a mount point, or on another file system"),
    errno.ETXTBSY: ("conflict", "the program is running"),
    errno.ENOTEMPTY: ("conflict", "directory not empty"),
    errno.EFBIG: ("too_large", "file too large for the file system"),
    errno.ENOSPC: ("insufficient_storage", "no space left on the device"),
    errno.EDQUOT: ("insufficient_storage", "disk quota exceeded"),
    errno.EMFILE: ("unavailable", "the server is out of file descriptors; try again"),
    errno.ENFILE: ("unavailable", "the machine is out of file descriptors; try again"),
    errno.ENOMEM: ("unavailable", "out of memory; try again"),
    errno.EINTR: ("unavailable", "interrupted; try again"),
    errno.EAGAIN: ("bad_request", "reading it would wait"),
    errno.ESRCH: ("not_found", "no such process"),
    errno.ESTALE: ("conflict", "the file changed meanwhile; try again"),
    errno.EIO: ("internal", "input/output error"),
}


def from_os_error(error: OSError, *, path: bytes | str | None = None) -> Failure:
    """The failure that says what a system call said, naming `path` (or the error's own).

    An errno that is not in the table is `internal`: the client learns that it failed, the log
    learns why.
    """
    name = path if path is not None else error.filename
    code, sentence = _ERRNO.get(error.errno or 0, ("internal", "the operation failed"))
    if name is None:
        return Failure(code, sentence)
    shown = name.decode("utf-8", "replace") if isinstance(name, bytes) else name
    if len(shown) > _SHOWN:
        shown = f"{shown[:_SHOWN]}... ({len(shown)} characters)"
    return Failure(code, f"{sentence}: {shown}")


def error_body(failure: Failure, request_id: str) -> bytes:
    """The JSON error body. `success: false` makes the SDK raise, `error` is what people read."""
    return msgspec.json.encode(
        {
            **failure.extra,
            "success": False,
            "error": failure.message,
            "code": failure.code,
            "request_id": request_id,
        }
    )
