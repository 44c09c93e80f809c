"""Getting ripgrep: download, verify, put in place.

Belongs here: which release, its SHA-256, the steps, how far they are. Banned here: running
searches (`search`), looking for what is there (`ripgrep`). Source: wire contract, section 3;
reference, "Install ripgrep".
"""

from __future__ import annotations

import errno
import hashlib
import importlib
import os
import platform
import re
import shutil
import tarfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

import trio
from msgspec import UNSET

from hutch import _native
from hutch.runtime.lanes import Lane
from hutch.runtime.ripgrep import Ripgrep, Ripgreps
from hutch.wire.config import Config
from hutch.wire.errors import Failure, from_os_error
from hutch.wire.paths import shorten
from hutch.wire.search import InstallProgress, InstallQuery, RipgrepStatus

VERSION: Final = "14.1.1"

_TARGETS: Final = {"x86_64": "x86_64-unknown-linux-musl", "aarch64": "aarch64-unknown-linux-gnu"}

# Of `ripgrep-<version>-<target>.tar.gz`, as the release's own `.sha256` files have them.
_SHA256: Final[Mapping[tuple[str, str], str]] = {
    ("14.1.1", "x86_64-unknown-linux-musl"): (
        "4cf9f2741e6c465ffdb7c26f38056a59e2a2544b51f7cc128ef28337eeae4d8e"
    ),
    ("14.1.1", "aarch64-unknown-linux-gnu"): (
        "c827481c4ff4ea10c9dc7a4022c8de5db34a5737cb74484d62eb94a95841ab2f"
    ),
}

_VERSION: Final = re.compile(r"\d{1,5}\.\d{1,5}\.\d{1,5}")
_DIGEST: Final = re.compile(r"[0-9a-fA-F]{64}")
_CHUNK_BYTES: Final = 256 * 1024
# Where the first directory cannot be written, the next one is tried.
_ELSEWHERE: Final = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.ENOTDIR}


class Installations:
    """The service that gets ripgrep, one at a time."""

    def __init__(self, config: Config, ripgreps: Ripgreps, pending: _native.Pending) -> None:
        self._config = config
        self._pending = pending
        self._ripgreps = ripgreps
        self._lane = Lane(1)
        self._progress: InstallProgress | None = None

    async def status(self) -> RipgrepStatus:
        """What is there, and how far an installation is."""
        installing = UNSET if self._progress is None else self._progress
        try:
            found = await self._ripgreps.find()
        except Failure as failure:
            return RipgrepStatus(installed=False, message=failure.message, installing=installing)
        return RipgrepStatus(
            installed=True, path=found.path, version=found.version, installing=installing
        )

    async def install(self, query: InstallQuery) -> RipgrepStatus:
        """Installs a release, unless what is asked for is there.

        Raises `Failure`: bad_request, unsupported (the architecture), conflict while another
        installation runs, bad_gateway where the download is not what it should be.
        """
        version, url, sha256 = self._release(query)
        if self._progress is not None:
            raise Failure("conflict", "an installation of ripgrep is under way; see its status")
        self._say(version, "downloading")
        try:
            found = await self._there(query)
            if found is None:
                found = await self._get(version, url, sha256)
        finally:
            self._progress = None
        return RipgrepStatus(installed=True, path=found.path, version=found.version)

    def _release(self, query: InstallQuery) -> tuple[str, str, str]:
        version = query.version or VERSION
        if not _VERSION.fullmatch(version):
            raise Failure("bad_request", f"version: {shorten(version)}; give one such as {VERSION}")
        target = _TARGETS.get(platform.machine())
        if target is None:
            raise Failure("unsupported", f"no release of ripgrep for {platform.machine()} is known")
        name = f"ripgrep-{version}-{target}.tar.gz"
        sha256 = query.sha256 or _SHA256.get((version, target))
        if sha256 is None:
            raise Failure(
                "bad_request", f"sha256: missing; that of {name} is not known here, so give it"
            )
        if not _DIGEST.fullmatch(sha256):
            raise Failure("bad_request", f"sha256: {shorten(sha256)}; give 64 hexadecimal digits")
        base = self._config.ripgrep_url.rstrip("/")
        return version, f"{base}/{version}/{name}", sha256.lower()

    async def _there(self, query: InstallQuery) -> Ripgrep | None:
        try:
            found = await self._ripgreps.find()
        except Failure:
            return None
        is_wanted = query.version is None or found.version == f"ripgrep {query.version}"
        return found if is_wanted else None

    async def _get(self, version: str, url: str, sha256: str) -> Ripgrep:
        # What an earlier process left half-way lies there too.
        place = self._config.state_dir / "ripgrep"
        try:
            await self._lane.run(partial(_make_empty, place))
            archive = place / "archive"
            digest = await self._download(version, url, archive)
            self._say(version, "verifying")
            if digest != sha256:
                raise Failure(
                    "bad_gateway", f"{url} has the SHA-256 {digest}, not {sha256}; not installed"
                )
            staged = place / "rg"
            await self._lane.run(partial(self._unpack, archive, staged, url))
            told = await self._ripgreps.version(str(staged))
            self._say(version, "installing")
            path = await self._lane.run(partial(self._put, staged))
        except OSError as error:
            raise from_os_error(error) from error
        finally:
            await self._clear(place)
        return Ripgrep(path, told)

    async def _clear(self, place: Path) -> None:
        with trio.CancelScope(shield=True):
            await self._lane.run(partial(shutil.rmtree, place, ignore_errors=True))

    async def _download(self, version: str, url: str, archive: Path) -> str:
        # 0.2 s to import, and hardly ever needed.
        await self._lane.run(partial(importlib.import_module, "httpx2"))
        import httpx2  # noqa: PLC0415

        idle = self._config.limits.download_idle_seconds
        try:
            async with (
                httpx2.AsyncClient(timeout=idle, follow_redirects=True) as client,
                client.stream("GET", url) as answer,
            ):
                if answer.status_code != httpx2.codes.OK:
                    raise Failure("bad_gateway", f"{url} answers {answer.status_code}")
                return await self._keep(version, url, answer, archive)
        except httpx2.TimeoutException:
            raise Failure("bad_gateway", f"{url}: nothing arrives for {idle:g} s") from None
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise Failure("bad_gateway", f"{url}: {error or type(error).__name__}") from error

    async def _keep(self, version: str, url: str, answer: Any, archive: Path) -> str:
        """Writes the body down as it comes; its digest."""
        length = answer.headers.get("content-length", "")
        total = int(length) if length.isascii() and length.isdigit() else None
        digest, most = hashlib.sha256(), self._config.limits.download_bytes
        received = 0
        with archive.open("wb") as file:
            async for chunk in answer.aiter_raw(_CHUNK_BYTES):
                received += len(chunk)
                if received > most:
                    raise Failure("bad_gateway", f"{url}: larger than {most} bytes")
                digest.update(chunk)
                await self._lane.run(partial(file.write, chunk))
                self._say(version, "downloading", received, total)
        return digest.hexdigest()

    def _unpack(self, archive: Path, staged: Path, url: str) -> None:
        """Takes the one file `rg` out of a release."""
        most = self._config.limits.download_bytes
        try:
            with tarfile.open(archive, "r:gz") as tar:
                member = next((one for one in tar if _is_program(one)), None)
                if member is None or member.size > most:
                    raise Failure("bad_gateway", f"{url}: no rg in it that could be taken out")
                with staged.open("wb") as sink, tar.extractfile(member) as source:  # type: ignore[union-attr]  # a regular file
                    shutil.copyfileobj(source, sink)
        except (tarfile.TarError, EOFError, ValueError) as error:
            raise Failure("bad_gateway", f"{url}: no archive that can be read: {error}") from error
        staged.chmod(0o755)

    def _put(self, staged: Path) -> str:
        """Puts the program into the first directory that takes it, atomically. Raises OSError."""
        first, *others = self._ripgreps.directories()
        for directory in others:
            directory.mkdir(mode=0o755, parents=True, exist_ok=True)
        for directory in (first, *others):
            try:
                return _write(staged, directory / "rg", self._pending)
            except OSError as error:
                if error.errno not in _ELSEWHERE or directory == others[-1]:
                    raise
        raise AssertionError("there is always one directory")

    def _say(self, version: str, stage: Any, received: int = 0, total: int | None = None) -> None:
        self._progress = InstallProgress(
            version=version,
            stage=stage,
            received_bytes=received,
            total_bytes=UNSET if total is None else total,
        )


def _make_empty(place: Path) -> None:
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(mode=0o700, parents=True)


def _is_program(member: tarfile.TarInfo) -> bool:
    return member.isreg() and member.name.rpartition("/")[2] == "rg"


def _write(staged: Path, path: Path, pending: _native.Pending) -> str:
    writer = _native.Writer(_native.locate(os.fsencode(path), follow=True), pending)
    try:
        with staged.open("rb") as source:
            for piece in iter(partial(source.read, _CHUNK_BYTES), b""):
                writer.write(piece)
        writer.commit(_native.Stop(), mode=0o755)
    finally:
        writer.abort()
    return str(path)
