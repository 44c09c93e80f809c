"""One entry's metadata on the wire.

Belongs here: `StatQuery`, `FileStat`, and making the one of what `lstat` said. Banned here:
asking the system. Source: wire contract, section 2, "Stat" and "List and stream"; reference,
"Stat".
"""

from __future__ import annotations

import os
import stat as modes
from typing import Literal

from msgspec import UNSET, Struct, UnsetType

from hutch.wire.etag import etag_of
from hutch.wire.paths import AbsolutePath, display, encode_b64

Type = Literal["file", "directory", "symlink", "other"]


class StatQuery(Struct, frozen=True, kw_only=True):
    """The parameters of `GET /files/stat`."""

    path: AbsolutePath


class FileStat(Struct, frozen=True, kw_only=True):
    """The answer of `GET /files/stat`. Symlinks are not followed.

    `size` is in bytes, 0 for a symlink; `permissions` are four octal digits; `etag`, of regular
    files, is what `If-Match` takes.
    """

    path: str
    name: str
    type: Type
    size: int
    modified: str
    permissions: str
    is_code: bool
    uid: int
    gid: int
    inode: int
    links: int
    success: Literal[True] = True
    path_b64: str | UnsetType = UNSET
    extension: str | UnsetType = UNSET
    symlink_target: str | UnsetType = UNSET
    symlink_target_b64: str | UnsetType = UNSET
    etag: str | UnsetType = UNSET


def describe(
    path: bytes,
    info: os.stat_result,
    *,
    modified: str,
    target: bytes | None,
    extension: bytes | None,
    is_code: bool,
) -> FileStat:
    """What `lstat` said of `path`; `target` is where a symlink leads."""
    type_ = type_of(info.st_mode)
    is_file = type_ == "file"
    return FileStat(
        path=display(path),
        path_b64=encode_b64(path) or UNSET,
        name=display(os.path.basename(path) or path),  # noqa: PTH119  # bytes
        type=type_,
        size=0 if type_ == "symlink" else info.st_size,
        modified=modified,
        permissions=f"{modes.S_IMODE(info.st_mode):04o}",
        is_code=is_file and is_code,
        extension=display(extension) if extension and type_ != "directory" else UNSET,
        symlink_target=UNSET if target is None else display(target),
        symlink_target_b64=UNSET if target is None else encode_b64(target) or UNSET,
        uid=info.st_uid,
        gid=info.st_gid,
        inode=info.st_ino,
        links=info.st_nlink,
        etag=etag_of(info).decode("ascii") if is_file else UNSET,
    )


def type_of(mode: int) -> Type:
    """The type of an entry; sockets, FIFOs and devices are `other`."""
    if modes.S_ISREG(mode):
        return "file"
    if modes.S_ISDIR(mode):
        return "directory"
    return "symlink" if modes.S_ISLNK(mode) else "other"
