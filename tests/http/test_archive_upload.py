"""`POST /files/transfer/upload`: a tar.gz into a directory, and nothing anywhere else.

Oracles: GNU tar, bsdtar, `os.lstat`, and a survey of all that lies outside.
Source: wire contract, section 2, "Transfer".
"""

from __future__ import annotations

import gzip
import io
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests import archives, mounting, trees
from tests.archives import entry, made
from tests.client import Client, Json, b64
from tests.serving import Target, serving
from tests.sockets import memory_kib
from tests.tracing import can_trace
from tests.watching import held, wait_until

ENDPOINT = "/files/transfer/upload"
MIB = 2**20
TARS = [
    pytest.param(["tar", f"--format={form}"], id=f"tar {form}") for form in ("gnu", "pax", "v7")
] + [
    pytest.param(
        ["bsdtar", f"--format={form}"],
        id=f"bsdtar {form}",
        marks=pytest.mark.skipif(shutil.which("bsdtar") is None, reason="no bsdtar"),
    )
    for form in ("pax", "gnutar")
]


def uploaded(client: Client, dest: object, archive: bytes, **query: object) -> Json:
    # Whatever else this machine writes would be waited for too.
    asked = {"dest": dest, "sync": "false", **query}
    answer = client.request("POST", ENDPOINT, query=asked, content=archive)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def refused(client: Client, dest: object, archive: bytes, status: int = 400) -> Json:
    return client.failure("POST", ENDPOINT, status, query={"dest": dest}, content=archive)


def plain(root: Path) -> Path:
    """What every format can say: whole seconds, short names."""
    trees.build(root, {"a/b/file": "text", "a/empty": "", "empty/": None, "a/big": "x" * 100_000})
    os.symlink("b/file", root / "a/link")
    os.link(root / "a/b/file", root / "a/hard")
    os.chmod(root / "a/empty", 0o751)
    os.chmod(root / "empty", 0o500)
    for directory, names, files in os.walk(root):
        for name in (*names, *files):
            os.utime(os.path.join(directory, name), (1e9, 1e9 + len(name)), follow_symlinks=False)
    return root


@pytest.mark.parametrize("command", TARS)
def test_what_other_tars_pack_is_the_same_afterwards(
    client: Client, tree: Path, tmp_path: Path, command: list[str]
) -> None:
    is_plain = command[1] != "--format=pax"
    plain(tree) if is_plain else archives.rich(tree)
    program, *form = command
    told = uploaded(client, tmp_path / "new/dest", archives.pack(program, tree, *form))
    assert archives.survey(tmp_path / "new/dest") == archives.survey(tree)
    wanted = archives.survey(tree).values()
    files = [one for one in wanted if not str(one[0]).startswith("d")]
    assert told["files_extracted"] == len(files)
    assert told["directories"] == len(wanted) - len(files)
    assert (told["success"], told["dest"], told["skipped"]) == (True, f"{tmp_path}/new/dest", [])


SPARSE = [["tar", "--format=gnu"], ["tar", "--format=posix"], ["bsdtar", "--format=pax"]]


@pytest.mark.parametrize("command", SPARSE, ids=" ".join)
def test_sparse_files_keep_their_holes(
    client: Client, tree: Path, tmp_path: Path, command: list[str]
) -> None:
    if shutil.which(command[0]) is None:
        pytest.skip("no bsdtar")
    for name, pieces in {"many": range(1, 200, 2), "one": [3], "end": [], "begin": [0]}.items():
        with (tree / name).open("wb") as file:
            for at in pieces:
                file.seek(at * 65536)
                file.write(b"x" * 5000)
            file.truncate(20 * MIB)
        os.utime(tree / name, (1e9, 1e9))
    program, form = command
    sparse = ["--sparse"] if program == "tar" else []
    uploaded(client, tmp_path / "dest", archives.pack(program, tree, form, *sparse))
    assert archives.survey(tmp_path / "dest") == archives.survey(tree)
    for one in tree.iterdir():
        assert (tmp_path / "dest" / one.name).stat().st_blocks <= one.stat().st_blocks


def test_a_download_comes_back_the_same(client: Client, tree: Path, tmp_path: Path) -> None:
    archives.rich(tree)
    body = {"paths": [str(tree)], "base": str(tree)}
    archive = client.request("POST", "/files/transfer/download", body=body).content
    told = uploaded(client, tmp_path / "dest", archive)
    assert archives.survey(tmp_path / "dest", top=True) == archives.survey(tree, top=True)
    first = {one[3]: one for one in archives.survey(tree).values() if one[3] is not None}
    sizes = [one[2][0] for one in archives.survey(tree).values() if isinstance(one[2], tuple)]
    doubled = 2 * len(b"text\n")
    assert first
    assert told["bytes"] == sum(sizes) - doubled


def test_what_is_there_is_replaced_at_once_or_kept(client: Client, tree: Path) -> None:
    trees.build(tree, {"file": "old", "kept": "kept", "d/inner": "old", "target": "old"})
    os.symlink("target", tree / "link")
    os.link(tree / "file", tree / "other name")
    before = os.stat(tree).st_mtime_ns, trees.mode(tree)
    with (tree / "file").open() as reader:
        archive = made(
            [
                entry("./", kind=tarfile.DIRTYPE, mode=0o700),
                entry("./file", b"new"),
                entry("d/inner", b"new"),
                entry("link", b"new"),
            ]
        )
        uploaded(client, tree, archive)
        assert reader.read() == "old"
    found = {one.name: one.read_text() for one in tree.iterdir() if one.is_file()}
    assert found == {
        "file": "new", "kept": "kept", "target": "old", "link": "new", "other name": "old",
    }  # fmt: skip
    assert not (tree / "link").is_symlink()
    assert (tree / "d/inner").read_text() == "new"
    # The destination was there before: it stays as it is.
    assert trees.mode(tree) == before[1]


def test_links_replace_links_and_files(client: Client, tree: Path) -> None:
    trees.build(tree, {"a": "old", "b": "b", "c": "c"})
    os.symlink("nowhere", tree / "d")
    link, hard = tarfile.SYMTYPE, tarfile.LNKTYPE
    uploaded(
        client,
        tree,
        made(
            [
                entry("a", kind=link, link="b"),
                entry("d", kind=link, link="c"),
                entry("c", kind=hard, link="b"),
                entry("e", kind=hard, link="b"),
                entry("b", kind=hard, link="b"),
            ]
        ),
    )
    assert (os.readlink(tree / "a"), os.readlink(tree / "d")) == ("b", "c")
    assert len({os.stat(tree / name).st_ino for name in "bce"}) == 1
    assert sorted(os.listdir(tree)) == ["a", "b", "c", "d", "e"]
    # The same again: two names of one file are renamed onto each other.
    uploaded(client, tree, made([entry("c", kind=hard, link="b"), entry("a", kind=link, link="x")]))
    assert os.readlink(tree / "a") == "x"
    assert sorted(os.listdir(tree)) == ["a", "b", "c", "d", "e"]


def test_of_a_doubled_name_the_last_counts(client: Client, tree: Path) -> None:
    link, directory = tarfile.SYMTYPE, tarfile.DIRTYPE
    entries = [
        entry("a", b"1"), entry("a", b"2"),
        entry("b", kind=link, link="x"), entry("b", b"3"),
        entry("c", b"4"), entry("c", kind=link, link="a"),
        entry("d", kind=link, link="x"), entry("d", kind=directory), entry("d/e", b"5"),
    ]  # fmt: skip
    uploaded(client, tree, made(entries))
    assert ((tree / "a").read_text(), (tree / "b").read_text()) == ("2", "3")
    assert os.readlink(tree / "c") == "a"
    assert (tree / "d/e").read_text() == "5"


def test_set_id_bits_are_dropped_and_the_sticky_bit_of_a_directory_stays(
    client: Client, tree: Path
) -> None:
    directory = tarfile.DIRTYPE
    modes = {"file": 0o6755, "sticky": 0o1644}
    entries = [entry(name, b"x", mode=mode) for name, mode in modes.items()]
    uploaded(client, tree, made([*entries, entry("d", kind=directory, mode=0o7777)]))
    found = {one.name: stat.S_IMODE(one.stat().st_mode) for one in tree.iterdir()}
    assert found == {"file": 0o755, "sticky": 0o644, "d": 0o1777}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_the_owner_is_ours_unless_the_archives_is_asked_for(client: Client, tree: Path) -> None:
    file, link = entry("file", b"x"), entry("link", kind=tarfile.SYMTYPE, link="file")
    directory = entry("d", kind=tarfile.DIRTYPE)
    for info, _ in (file, link, directory):
        info.uid, info.gid = 1234, 3_000_000
    archive = made([file, link, directory])

    def owners() -> set[tuple[int, int]]:
        return {(one.lstat().st_uid, one.lstat().st_gid) for one in tree.iterdir()}

    uploaded(client, tree, archive)
    assert owners() == {(0, 0)}
    uploaded(client, tree, archive, owner="archive")
    assert owners() == {(1234, 3_000_000)}
    # A file that is replaced keeps its owner, as with a write.
    uploaded(client, tree, archive)
    assert (tree / "file").stat().st_uid == 1234
    # A number that this system does not have is not root's.
    strange = entry("strange", b"x")
    strange[0].uid = strange[0].gid = 2**40
    uploaded(client, tree, made([strange]), owner="archive")
    owner = (tree / "strange").stat()
    assert (owner.st_uid, owner.st_gid) == (65534, 65534)


def test_a_destination_that_is_not_utf_8(client: Client, tree: Path) -> None:
    place = os.fsencode(tree) + b"/\xff"
    query: dict[str, object] = {"dest_b64": b64(place)}
    answer = client.request("POST", ENDPOINT, query=query, content=made([entry("a", b"x")]))
    assert answer.json()["dest_b64"] == b64(place)
    assert os.listdir(place) == [b"a"]


@pytest.mark.skipif(not can_trace(), reason="strace cannot trace here")
def test_it_is_on_the_disk_when_it_is_answered(
    target: Target, client: Client, tree: Path, tmp_path: Path
) -> None:
    archive, log = made([entry("a", b"x")]), tmp_path / "log"
    words = ["strace", "-f", "-o", str(log), "-e", "trace=syncfs,renameat2,linkat"]
    with subprocess.Popen(
        [*words, "-p", str(target.pid)], stderr=subprocess.PIPE, text=True
    ) as tracer:
        try:
            assert tracer.stderr is not None
            assert "attached" in tracer.stderr.readline()
            query: dict[str, object] = {"dest": tree}
            client.request("POST", ENDPOINT, query=query, content=archive).raise_for_status()
            uploaded(client, tree / "unsynced", archive)
        finally:
            tracer.send_signal(signal.SIGINT)
    named, synced = ("renameat2", "linkat"), "syncfs"
    calls = [one.split(maxsplit=1)[1].partition("(")[0] for one in log.read_text().splitlines()]
    order = [one for one in calls if one in (*named, synced)]
    assert order.count(synced) == 1
    assert order[0] in named and order[-1] in named


def test_what_is_not_kept_is_named(client: Client, tree: Path) -> None:
    file, content = entry("a", b"x")
    file.pax_headers = {"SCHILY.xattr.user.x": "1", "comment": "c"}
    (skipped,) = uploaded(client, tree, made([(file, content)]))["skipped"]
    assert skipped["path"] == "a"
    assert "SCHILY.xattr.user.x" in skipped["reason"]


def test_the_name_of_what_is_not_kept_is_cut(client: Client, tree: Path) -> None:
    """It may be a megabyte, and a thousand of them are told."""
    entries = [entry(str(at), os.urandom(10_000)) for at in range(20)]
    for info, _ in entries:
        info.pax_headers = {"SCHILY." + "x" * 100_000: "1"}
    skipped = uploaded(client, tree, made(entries))["skipped"]
    assert len(skipped) == 20
    assert max(len(one["reason"]) for one in skipped) < 500


# --- attacks -----------------------------------------------------------------------------------

Entries = list[tuple[tarfile.TarInfo, bytes]]
SYM, HARD, DIR = tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE

ATTACKS: dict[str, tuple[Callable[[Path], Entries], str]] = {
    "absolute": (lambda out: [entry(f"{out}/new", b"x")], "absolute"),
    "absolute, several slashes": (lambda _: [entry("//etc/x", b"x")], "absolute"),
    "up": (lambda _: [entry("../outside/new", b"x")], ".."),
    "up from below": (lambda _: [entry("a/../../outside/new", b"x")], ".."),
    "only up": (lambda _: [entry("..", kind=DIR)], ".."),
    "through its own symlink": (
        lambda out: [entry("a", kind=SYM, link=str(out)), entry("a/new", b"x")], "symlink",
    ),
    "through its own symlink, below": (
        lambda out: [entry("a/b", kind=SYM, link=str(out)), entry("a/b/c/new", b"x")], "symlink",
    ),
    "through its own symlink, by a directory": (
        lambda out: [entry("a", kind=SYM, link=str(out)), entry("a/new", kind=DIR)], "symlink",
    ),
    "through its own symlink, by a symlink": (
        lambda out: [entry("a", kind=SYM, link=str(out)), entry("a/new", kind=SYM, link="x")], "symlink",
    ),
    "through its own symlink, by a hard link": (
        lambda out: [entry("a", kind=SYM, link=str(out)), entry("b", kind=HARD, link="a/file")], "symlink",
    ),
    "through a symlink that is there": (lambda _: [entry("there/new", b"x")], "symlink"),
    "a directory over a symlink that is there": (lambda _: [entry("there", kind=DIR)], "something else"),
    "a directory over a file": (lambda _: [entry("file", kind=DIR)], "something else"),
    "below a file": (lambda _: [entry("file/new", b"x")], "directory on its way"),
    "a file over a directory": (lambda _: [entry("d", b"x")], "directory is in the way"),
    "a symlink over a directory": (lambda _: [entry("d", kind=SYM, link="x")], "directory is in the way"),
    "a hard link over a directory": (lambda _: [entry("d", kind=HARD, link="file")], "directory is in the way"),
    "a hard link outside, absolute": (lambda out: [entry("a", kind=HARD, link=f"{out}/file")], "leave"),
    "a hard link outside, up": (lambda _: [entry("a", kind=HARD, link="../outside/file")], "leave"),
    "a hard link outside, through a symlink": (lambda _: [entry("a", kind=HARD, link="there/file")], "no file"),
    "a hard link to nothing": (lambda _: [entry("a", kind=HARD, link="nothing")], "no file"),
    "a hard link to a directory": (lambda _: [entry("a", kind=HARD, link="d")], "no file"),
    "a device": (lambda _: [entry("a", kind=tarfile.CHRTYPE)], "character device"),
    "a block device": (lambda _: [entry("a", kind=tarfile.BLKTYPE)], "block device"),
    "a FIFO": (lambda _: [entry("a", kind=tarfile.FIFOTYPE)], "FIFO"),
    "a member of no known type": (lambda _: [entry("a", kind=b"Z")], "type"),
    "a symlink to nowhere": (lambda _: [entry("a", kind=SYM, link="")], "nowhere"),
    "the destination as a file": (lambda _: [entry(".", b"x")], "destination itself"),
    "the destination as a symlink": (lambda out: [entry("./", kind=SYM, link=str(out))], "destination itself"),
    "a name that is too long": (lambda _: [entry("a/" + "n" * 256, b"x")], "255"),
}  # fmt: skip


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    place = trees.build(tmp_path / "outside", {"file": "secret", "d/file": "2"})
    os.chmod(place / "file", 0o600)
    return place


@pytest.mark.parametrize("name", ATTACKS)
def test_nothing_outside_changes(client: Client, tree: Path, outside: Path, name: str) -> None:
    trees.build(tree, {"file": "old", "d/x": "old"})
    os.symlink(outside, tree / "there")
    attack, word = ATTACKS[name]
    before = archives.survey(outside, top=True), archives.survey(tree)
    archive = made([entry("first", b"1"), *attack(outside)])
    told = refused(client, tree, archive)
    assert word in told["error"]
    assert (told["files_extracted"], told["bytes"]) == (1, 1)
    assert archives.survey(outside, top=True) == before[0]
    after = archives.survey(tree)
    # What stood in the way is what it was; directories may have become parents of something.
    old = {one: facts for one, facts in before[1].items() if not str(facts[0]).startswith("d")}
    assert {one: after[one] for one in old} == old
    assert not [one for one in after if one.endswith(b".tmp")]


def test_names_with_backslashes_are_names(client: Client, tree: Path) -> None:
    names = ["a\\..\\b", "..\\x", "C:\\x", "\\x", "...", "a\nb", "~"]
    uploaded(client, tree, made([entry(one, b"x") for one in names]))
    assert sorted(os.listdir(tree)) == sorted(names)


# Makes `d` a directory and a symlink that leads out, by turns, until its input ends.
SWAPPING = """
import contextlib, itertools, os, select, sys
tree, aside, outside = sys.argv[1:]
d, link = tree + "/d", aside + "/link"
for turn in itertools.count():
    with contextlib.suppress(OSError):
        os.rename(d, f"{aside}/{turn}")
    with contextlib.suppress(OSError):
        os.symlink(outside, link)
        os.rename(link, d)
        os.unlink(d)
    with contextlib.suppress(OSError):
        os.mkdir(d)
    if turn % 100 == 0 and select.select([0], [], [], 0)[0]:
        break
"""


def test_nothing_outside_changes_while_directories_become_symlinks(
    client: Client, tree: Path, tmp_path: Path, outside: Path
) -> None:
    before = archives.survey(outside, top=True)
    (tree / "d").mkdir()
    (tmp_path / "aside").mkdir()
    entries = [entry("d", kind=DIR)]
    for at in range(200):
        entries += [
            entry(f"d/{at}", b"x"),
            entry(f"d/d/{at}", b"x"),
            entry(f"d/l{at}", kind=SYM, link="x"),
        ]
        entries += [entry(f"e/{at}", b"x"), entry(f"d/h{at}", kind=HARD, link=f"d/{at}")]
    archive = made(entries)
    command = [sys.executable, "-c", SWAPPING, str(tree), str(tmp_path / "aside"), str(outside)]
    statuses = set()
    with subprocess.Popen(command, stdin=subprocess.PIPE) as swapper:
        for _ in range(40):
            answer = client.request("POST", ENDPOINT, query={"dest": tree}, content=archive)
            statuses.add(answer.status_code)
        swapper.communicate(b"end")
    assert statuses <= {200, 400, 404}
    # Some were caught on their way.
    assert 400 in statuses
    assert archives.survey(outside, top=True) == before


# --- broken archives ---------------------------------------------------------------------------


def tar_of(*entries: tuple[tarfile.TarInfo, bytes]) -> bytes:
    return gzip.decompress(made(list(entries)))


def disagreeing(pax_size: int, ustar_size: int, content: bytes) -> bytes:
    """A member whose two sizes differ."""
    info = tarfile.TarInfo("a")
    info.size = ustar_size
    record = b"%d size=%d\n" % (len(b"00 size=\n") + len(str(pax_size)), pax_size)
    extended = tarfile.TarInfo("x")
    extended.size, extended.type = len(record), b"x"
    parts = [extended.tobuf(tarfile.USTAR_FORMAT), record.ljust(512, b"\0")]
    parts += [info.tobuf(tarfile.USTAR_FORMAT), content.ljust(1024, b"\0"), bytes(1024)]
    return gzip.compress(b"".join(parts))


GOOD = made([entry("a", b"x" * 5000), entry("b", os.urandom(5000))])
RAW = gzip.decompress(GOOD)
BROKEN = {
    "empty": (b"", "empty"),
    "gzip of nothing": (gzip.compress(b""), "empty"),
    "no entries": (gzip.compress(bytes(10240)), "no entries"),
    "not gzip": (RAW, "not gzip"),
    "text": (b"hello", "not gzip"),
    "gzip of text": (gzip.compress(b"hello" * 1000), "checksum"),
    "one byte": (b"\x1f", "cut"),
    "cut in the middle": (GOOD[: len(GOOD) // 2], "cut"),
    "cut in the trailer": (GOOD[:-1], "cut"),
    "garbage behind": (GOOD + b"garbage", "follows"),
    "a checksum that is wrong": (GOOD[:-8] + b"abcd" + GOOD[-4:], "checksum"),
    "a cut tar in whole gzip": (gzip.compress(RAW[:3000]), "cut"),
    "a tar without its end": (gzip.compress(RAW[:11264]), "cut"),
    "garbage behind the tar's end": (gzip.compress(RAW + b"x" * 512), "checksum"),
    "a broken header": (gzip.compress(RAW[:5632] + b"y" + RAW[5633:]), "checksum"),
    "a broken map of a sparse file": (gzip.compress(tar_of(entry("a", b"x", kind=b"S"))), "sparse"),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_archive_is_400_and_says_why(client: Client, tree: Path, name: str) -> None:
    archive, word = BROKEN[name]
    told = refused(client, tree / "dest", archive)
    assert word in told["error"]
    there = [one for one in tree.rglob("*") if one.is_file()]
    assert told["files_extracted"] == len(there)
    assert not there or (tree / "dest").exists()
    assert not [one for one in there if one.name.startswith(".hutch-")]


def test_a_broken_content_length_leaves_no_half_of_a_file(client: Client, tree: Path) -> None:
    archive = made([entry("whole", b"1"), entry("cut", os.urandom(100_000))])
    refused(client, tree, archive[: len(archive) // 2])
    assert os.listdir(tree) == ["whole"]


def test_concatenated_members_and_archives_are_read_on(client: Client, tree: Path) -> None:
    one, two = made([entry("a", b"1")]), made([entry("b", b"2")])
    halves = gzip.compress(RAW[:1000]) + gzip.compress(RAW[1000:])
    assert uploaded(client, tree / "x", one + two)["files_extracted"] == 2
    assert uploaded(client, tree / "y", halves)["files_extracted"] == 2
    assert uploaded(client, tree / "z", one + bytes(5000))["files_extracted"] == 1


def test_where_sizes_disagree_pax_counts_as_with_tar(
    client: Client, tree: Path, tmp_path: Path
) -> None:
    for pax, ustar in ((600, 3), (3, 600)):
        archive = disagreeing(pax, ustar, b"y" * 600)
        dest = tree / str(pax)
        answer = client.request("POST", ENDPOINT, query={"dest": dest}, content=archive)
        other = tmp_path / str(pax)
        other.mkdir()
        tar = ["tar", "-xzf", "-", "-C", str(other)]
        done = subprocess.run(tar, input=archive, capture_output=True, check=False)
        assert (answer.status_code == 200) == (done.returncode == 0)
        assert (dest / "a").read_bytes() == (other / "a").read_bytes()


def test_a_size_on_what_has_no_content_is_refused(client: Client, tree: Path) -> None:
    info = entry("d", kind=SYM, link="x")[0]
    info.size = 512
    hidden = tar_of(entry("hidden", b""))
    archive = gzip.compress(info.tobuf(tarfile.USTAR_FORMAT) + hidden)
    assert "size" in refused(client, tree, archive)["error"]
    assert os.listdir(tree) == []


def test_a_path_beyond_path_max(client: Client, tree: Path) -> None:
    name = "/".join(["n" * 200] * 60)
    uploaded(client, tree, made([entry(name, b"deep")]))
    at = os.open(tree, os.O_RDONLY)
    for part in name.split("/")[:-1]:
        at, above = os.open(part, os.O_RDONLY, dir_fd=at), at
        os.close(above)
    assert os.listdir(at) == ["n" * 200]
    os.close(at)
    trees.remove_deep(tree)


# --- limits ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    options = ["--archive-entries=5", "--archive-bytes=1000", "--archive-name-bytes=300"]
    with serving(tmp_path_factory.mktemp("small"), *options) as target, target.client() as one:
        yield one


LIMITED = {
    "archive_entries": [entry(str(at)) for at in range(6)],
    "archive_bytes": [entry("a", b"x" * 600), entry("b", b"x" * 600)],
    "archive_name_bytes": [entry("/".join(["n" * 100] * 4))],
    "extended": [entry("n" * (2 * MIB))],
}


@pytest.mark.parametrize("limit", LIMITED)
def test_more_than_a_limit_is_413_and_names_it(small: Client, tree: Path, limit: str) -> None:
    told = refused(small, tree, made(LIMITED[limit]), 413)
    assert limit in told["error"]
    assert told["code"] == "too_large"
    assert told["files_extracted"] == len(list(tree.iterdir()))


def test_at_a_limit_all_is_well(small: Client, tree: Path) -> None:
    entries = [
        entry("n" * 150 + "/" + "m" * 149, b"x" * 1000),
        *[entry(str(at)) for at in range(4)],
    ]
    assert uploaded(small, tree, made(entries))["files_extracted"] == 5


def bomb(size: int) -> bytes:
    info = tarfile.TarInfo("bomb")
    info.size = size
    sink = io.BytesIO()
    with gzip.open(sink, "wb", compresslevel=9) as file:
        file.write(info.tobuf(tarfile.GNU_FORMAT))
        for _ in range(size // MIB):
            file.write(bytes(MIB))
        file.write(bytes(1024))
    return sink.getvalue()


def test_a_bomb_is_413_and_leaves_nothing(client: Client, target: Target, tree: Path) -> None:
    archive = bomb(160 * MIB)
    told = refused(client, tree, archive, 413)
    assert "archive_ratio" in told["error"]
    assert os.listdir(tree) == []


# --- protected paths, disks, clients -----------------------------------------------------------


def test_protected_paths_are_not_replaced(client: Client, target: Target, tmp_path: Path) -> None:
    kinds = {"a file": b"0", "a symlink": SYM, "a hard link": HARD}
    for kind in kinds.values():
        for name in ("etc", "usr", "proc", "bin", "var"):
            link = "" if kind == b"0" else "tmp"
            told = client.request(
                "POST",
                ENDPOINT,
                query={"dest": "/"},
                content=made([entry(name, kind=kind, link=link)]),
            )
            assert told.status_code in (400, 403), told.text
    before = os.stat("/etc").st_mode, os.stat("/etc").st_mtime_ns
    answer = uploaded(client, "/", made([entry("etc", kind=DIR, mode=0o700)]))
    assert (os.stat("/etc").st_mode, os.stat("/etc").st_mtime_ns) == before
    assert answer["skipped"][0]["path"] == "etc"


@pytest.mark.parametrize("dest", ["relative", "~/x", ""])
def test_a_destination_must_be_absolute(client: Client, dest: str) -> None:
    assert "dest" in refused(client, dest, GOOD)["error"]


def test_a_destination_that_is_a_file_is_400_before_the_body(client: Client, tree: Path) -> None:
    (tree / "file").write_text("x")
    assert "not a directory" in refused(client, tree / "file", GOOD)["error"]
    assert "not a directory" in refused(client, tree / "file/below", GOOD)["error"]
    assert (tree / "file").read_text() == "x"


def test_a_destination_may_be_a_symlink_to_a_directory(client: Client, tree: Path) -> None:
    (tree / "real").mkdir()
    os.symlink("real", tree / "link")
    uploaded(client, tree / "link", made([entry("a", b"x")]))
    assert (tree / "real/a").read_text() == "x"


def half_sent(target: Target, dest: Path, archive: bytes) -> socket.socket:
    one = socket.create_connection(("127.0.0.1", target.port), timeout=60)
    head = (
        f"POST {ENDPOINT}?dest={dest} HTTP/1.1\r\nHost: a\r\nContent-Length: {len(archive)}\r\n"
        f"Authorization: Bearer {target.token}\r\n\r\n"
    )
    one.sendall(head.encode() + archive[: len(archive) // 2])
    return one


def test_a_client_that_vanishes_leaves_nothing_half_made(
    client: Client, target: Target, tree: Path
) -> None:
    archive = made([entry("whole", b"1"), entry("big", os.urandom(8 * MIB)), entry("last", b"2")])
    with half_sent(target, tree, archive):
        wait_until(lambda: held(target.pid, tree))
        wait_until((tree / "whole").exists)
    wait_until(lambda: not held(target.pid, tree))
    assert os.listdir(tree) == ["whole"]


def test_uploads_that_stall_hold_no_thread(client: Client, target: Target, tree: Path) -> None:
    archive = made([entry("big", os.urandom(4 * MIB))])
    stalled = [half_sent(target, tree / str(at), archive) for at in range(8)]
    try:
        for at in range(8):
            wait_until((tree / str(at)).exists)
        assert uploaded(client, tree / "other", GOOD)["files_extracted"] == 2
    finally:
        for one in stalled:
            one.close()


@mounting.needs_mounts
def test_a_full_disk_is_507_and_says_what_is_there(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    preexec = mounting.inside(mounting.tmpfs(disk, "2m"))
    archive = made([entry("whole", b"1"), entry("big", os.urandom(3 * MIB)), entry("last", b"2")])
    with serving(tmp_path / "server", preexec=preexec) as target, target.client() as client:
        told = refused(client, disk / "dest", archive, 507)
        assert (told["code"], told["files_extracted"]) == ("insufficient_storage", 1)
        assert os.listdir(mounting.seen_by(target.pid, disk / "dest")) == ["whole"]


def test_memory_stays_small(client: Client, target: Target, tree: Path) -> None:
    archive = made([entry("big", os.urandom(64 * MIB))], level=0)
    uploaded(client, tree, GOOD)
    before = memory_kib(target)
    uploaded(client, tree, archive)
    assert memory_kib(target) - before < 32 * 1024


def two_gigabytes(block: bytes) -> Iterator[bytes]:
    info = tarfile.TarInfo("big")
    info.size = 2048 * MIB
    compressor: Any = __import__("zlib").compressobj(0, wbits=31)
    yield compressor.compress(info.tobuf(tarfile.GNU_FORMAT))
    for _ in range(2048 * MIB // len(block)):
        yield compressor.compress(block)
    yield compressor.compress(bytes(1024)) + compressor.flush()


@pytest.mark.slow
def test_two_gigabytes_add_less_than_32_mib(client: Client, target: Target, tree: Path) -> None:
    uploaded(client, tree, GOOD)
    before, most = memory_kib(target), 0
    block = os.urandom(MIB)

    def watched() -> Iterator[bytes]:
        nonlocal most
        for piece in two_gigabytes(block):
            most = max(most, memory_kib(target))
            yield piece

    answer = client.request("POST", ENDPOINT, query={"dest": tree}, content=watched())
    assert answer.status_code == 200, answer.text
    assert (tree / "big").stat().st_size == 2048 * MIB
    assert most - before < 32 * 1024


@pytest.mark.slow
def test_a_million_entries(client: Client, target: Target, tree: Path) -> None:
    sink = io.BytesIO()
    with gzip.open(sink, "wb", compresslevel=1) as file:
        for at in range(1_000_000):
            info = tarfile.TarInfo(f"{at // 1000}/{at}")
            kind = at % 3
            info.type = (b"0", DIR, SYM)[kind]
            info.linkname = "x" if kind == 2 else ""
            file.write(info.tobuf(tarfile.USTAR_FORMAT))
        file.write(bytes(1024))
    uploaded(client, tree / "first", GOOD)
    before = memory_kib(target)
    with Client(target.url, target.token, timeout=600) as patient:
        told = uploaded(patient, tree / "million", sink.getvalue())
    assert told["files_extracted"] + told["directories"] >= 1_000_000
    assert memory_kib(target) - before < 64 * 1024
    subprocess.run(["rm", "-rf", str(tree)], check=True)
