"""The Rust extension: what it promises, in Python's words. Held to the build by stubtest.

Calls that take long release the interpreter. `OSError` carries `errno` and `filename`
(bytes); `InterruptedError` says that a `Stop` was set.
"""

from typing import Literal, final

__all__ = [
    "DEBUG",
    "Changed",
    "Copied",
    "Ended",
    "Extractor",
    "FileState",
    "Guard",
    "Kept",
    "Landed",
    "MatchReader",
    "Matches",
    "Pack",
    "Pending",
    "Place",
    "Process",
    "Reading",
    "Removal",
    "Stop",
    "Walk",
    "WalkStatistics",
    "Watcher",
    "WatcherStatus",
    "Watches",
    "Writer",
    "Written",
    "__version__",
    "append",
    "chmod",
    "copy",
    "extension",
    "find",
    "find_at_once",
    "is_code",
    "is_made_on_reading",
    "kept",
    "locate",
    "make_dirs",
    "may_hang",
    "open_regular",
    "pool_close",
    "punch_hole",
    "read_at_once",
    "relocate",
    "remove",
    "rfc3339",
    "spawn",
    "targets",
]

__version__: str
DEBUG: bool

def extension(name: bytes) -> bytes | None:
    """From the last dot on, unless that is the first byte. Source: wire contract, section 2."""

def is_code(name: bytes) -> bool:
    """Whether the published table holds the name or its extension for code."""

def rfc3339(seconds: int) -> str:
    """`2025-01-15T10:30:00Z`. Beyond the years 0 to 9999 their first or last second."""

@final
class Stop:
    """A flag that ends work from outside: set once, never cleared."""

    def __new__(cls) -> Stop: ...
    def set(self) -> None: ...
    def is_set(self) -> bool: ...

def find_at_once(path: bytes) -> int:
    """An owned O_PATH descriptor of anything but a symlink, for `os.fstat`; never waits.

    Raises BlockingIOError whatever the reason: asking in a thread tells which.
    """

def open_regular(path: bytes, *, at_once: bool) -> int:
    """An owned descriptor of a regular file; symlinks are followed.

    With `at_once` it never waits and raises BlockingIOError whatever the reason.

    Raises OSError: EISDIR for a directory, ENXIO for a FIFO, a socket or a device, which are
    not opened at all.
    """

def is_made_on_reading(descriptor: int) -> bool:
    """Whether an open file lies in `/proc`, `/sys` or their like: its size and times say
    nothing of its content.
    """

def read_at_once(descriptor: int, size: int, offset: int) -> bytes:
    """Exactly `size` bytes from the page cache.

    Raises BlockingIOError where they are not all there: asking in a thread tells why.
    """

@final
class Reading:
    """A file being read, whole or by lines: scanned, then handed over as the inside of a JSON
    string. Holds a window of it, not all.
    """

    def __new__(
        cls,
        path: bytes,
        *,
        first: int | None,
        last: int | None,
        form: Literal["text", "numbered", "base64"],
        limit: int,
        at_once: bool,
    ) -> Reading:
        """Opens as `open_regular` does, and reads nothing yet.

        With `at_once` neither this nor `scan` ever waits; where they would have to, or where
        opening fails, they raise BlockingIOError.
        Raises OSError: EFBIG for a whole file of more than `limit` bytes.
        """
    def fileno(self) -> int: ...
    def scan(self, stop: Stop) -> None:
        """Finds the wanted bytes; comes before the first `next`.

        Raises OSError (EFBIG over the limit), ValueError for text with a NUL, InterruptedError.
        """
    def next(self, most: int) -> bytes:
        """The next batch: at least `most` bytes, and not much more, but for the last one.

        Raises OSError: ESTALE where the file has become shorter since it was scanned.
        """
    def is_finished(self) -> bool: ...
    def facts(self) -> tuple[int, int, bool, str | None]:
        """(size, lines, lossy, SHA-256 of a whole file), complete once all was handed over."""

@final
class Place:
    """A name, there or not, in a directory that is held open."""

    @property
    def key(self) -> bytes:
        """The same for every spelling of the same place, different for any other."""

    def state(self, stop: Stop) -> FileState | None:
        """What stands there now, its bytes hashed afresh; None where nothing does.

        Raises OSError, InterruptedError.
        """

@final
class FileState:
    """What stands at a place, as preconditions see it."""

    @property
    def status(self) -> tuple[int, int, int, int]:
        """Inode, size, mtime and ctime in ns: what ETags are made of."""

    @property
    def sha256(self) -> str | None:
        """Of a regular file, lower-case hex."""

def locate(path: bytes, *, follow: bool) -> Place:
    """Where an absolute, normalised path leads; `follow` goes on through a symlink as its end.

    Raises OSError: ENOENT where the parent is missing, ENOTDIR where it is a file, EISDIR for
    what can only be a directory, ELOOP, ENAMETOOLONG.
    """

def make_dirs(path: bytes, *, mode: int) -> bool:
    """Makes a directory with its parents (0755); whether it was made. A made one has `mode`.

    Raises OSError: ENOTDIR where a file is in the way.
    """

def may_hang(path: bytes) -> bool:
    """Whether a network or a program answers for the path's mount, as its spelling tells.

    Asks the mount table, and no file system.
    """

@final
class Pending:
    """The slots that name temporary files, in a directory that is made where it is missing.

    Opening removes what an earlier process left. One process at a time.
    """

    def __new__(cls, directory: bytes) -> Pending: ...

@final
class Written:
    """What was written."""

    @property
    def status(self) -> tuple[int, int, int, int]:
        """Inode, size, mtime and ctime in ns, of the file afterwards."""

    @property
    def size(self) -> int:
        """The file's size afterwards, in bytes."""

    @property
    def atomic(self) -> bool:
        """False where the file is a mount point and its bytes were overwritten."""

    @property
    def sha256(self) -> str | None:
        """Of the whole file, lower-case hex; None after appending."""

@final
class Writer:
    """Content on its way to a place; until `commit` nothing is changed.

    `named` begins with a named temporary file, as file systems without O_TMPFILE make it.
    Raises OSError: EISDIR, ENXIO for a FIFO, a socket or a device, EACCES, ENOSPC.
    """

    def __new__(cls, place: Place, pending: Pending, *, named: bool = False) -> Writer: ...
    def write(self, data: bytes) -> None:
        """More of the content. Raises OSError; ValueError once the writer has ended."""

    def commit(self, stop: Stop, *, mode: int | None = None, only_new: bool = False) -> Written:
        """Puts the content in place, atomically and durably, and ends the writer.

        Without `mode` that of the replaced file is kept, else it is 0644. Raises OSError:
        EEXIST where `only_new` and something is there, ENOSPC with the old file untouched;
        InterruptedError; ValueError once the writer has ended.
        """

    def abort(self) -> None:
        """Ends the writer, leaving everything as it was; may be called at any time."""

def append(place: Place, data: bytes, *, mode: int | None = None) -> Written | None:
    """Appends with O_APPEND, durably; None where there is no file.

    Raises OSError, as `Writer`.
    """

@final
class Guard:
    """Protected paths (absolute, normalised), with their real paths and identities of now."""

    def __new__(cls, paths: list[bytes]) -> Guard: ...
    def refuses_path(self, path: bytes) -> bytes | None:
        """The protected path that removing `path` would take away, by its spelling alone."""

    def refuses(self, place: Place) -> bytes | None:
        """The same by spelling, real path and identity of what stands there. Raises OSError."""

@final
class Removal:
    """The account of a removal."""

    @property
    def protected(self) -> bytes | None:
        """The protected path that was refused; nothing was removed."""

    @property
    def mounts(self) -> list[bytes]:
        """Mount points in the way; nothing was removed."""

    @property
    def removed(self) -> int:
        """Entries removed."""

    @property
    def errors(self) -> list[tuple[bytes, int]]:
        """The first thousand failures: path and errno."""

    @property
    def failures(self) -> int:
        """Failures in all."""

    @property
    def cut(self) -> Literal["stopped", "late", "failing"] | None:
        """Why it ended early."""

    @property
    def remaining(self) -> list[bytes]:
        """What is still there, at most a thousand, parents first; empty after a success."""

    @property
    def remaining_cut(self) -> bool:
        """Whether `remaining` lacks some."""

def remove(place: Place, guard: Guard, stop: Stop, *, seconds: float) -> Removal:
    """Removes what stands at a place with everything below it, following no symlink.

    Ends early when `stop` is set or `seconds` have passed; the account says so. Raises OSError
    (ENOENT where nothing stands there).
    """

@final
class Copied:
    """The account of a copy or a move."""

    @property
    def protected(self) -> bytes | None:
        """The protected path that was refused; nothing was done."""

    @property
    def mounts(self) -> list[bytes]:
        """Mount points in the way; nothing was done."""

    @property
    def clash(self) -> Literal["same", "inside", "around", "exists", "kinds", "not_empty"] | None:
        """Why nothing was done, by what stands at the two ends."""

    @property
    def renamed(self) -> bool:
        """Moved in one step, by giving it another name."""

    @property
    def entries(self) -> int:
        """Entries that were copied."""

    @property
    def size(self) -> int:
        """The bytes of the files among them."""

    @property
    def removed(self) -> int:
        """Entries removed from the source after all was copied."""

    @property
    def errors(self) -> list[tuple[bytes, int]]:
        """The first thousand failures: path and errno."""

    @property
    def failures(self) -> int:
        """Failures in all."""

    @property
    def left(
        self,
    ) -> list[tuple[bytes, Literal["fifo", "socket", "device", "pseudo_filesystem"]]]:
        """The first thousand entries that were left out, and why."""

    @property
    def left_out(self) -> int:
        """What was left out, in all."""

    @property
    def cut(self) -> Literal["stopped", "late", "failing"] | None:
        """Why it ended early."""

def copy(
    source: Place,
    destination: Place,
    guard: Guard,
    pending: Pending,
    stop: Stop,
    *,
    overwrite: bool,
    seconds: float,
) -> Copied:
    """Copies what stands at a place with everything below it; symlinks as symlinks.

    Each file appears whole, durably. With `overwrite` a file is replaced, and a directory takes
    in what the source holds. Ends early when `stop` is set or `seconds` have passed; the account
    says so. Raises OSError (ENOENT where there is no source).
    """

def relocate(
    source: Place,
    destination: Place,
    guard: Guard,
    pending: Pending,
    stop: Stop,
    *,
    overwrite: bool,
    seconds: float,
) -> Copied:
    """Moves, in one step where both lie on one file system; else copies all of it, durably, and
    then removes from the source what its copy is like.

    As `copy`; besides raises InterruptedError where `stop` was set before anything was done.
    """

@final
class Changed:
    """The account of a change of permission bits."""

    @property
    def protected(self) -> bytes | None:
        """The protected path that was refused; nothing was changed."""

    @property
    def changed(self) -> int:
        """Entries that have their bits now."""

    @property
    def errors(self) -> list[tuple[bytes, int]]:
        """The first thousand failures: path and errno."""

    @property
    def failures(self) -> int:
        """Failures in all."""

    @property
    def cut(self) -> Literal["stopped", "late", "failing"] | None:
        """Why it ended early."""

def chmod(
    place: Place,
    guard: Guard,
    stop: Stop,
    *,
    mode: int,
    directories: int | None,
    recursive: bool,
    seconds: float,
) -> Changed:
    """Sets permission bits, with `recursive` of everything below too; no symlink is followed.

    `directories` are the bits of directories, if they are to differ. Ends early when `stop` is
    set or `seconds` have passed; the account says so. Raises OSError (ENOENT).
    """

@final
class WalkStatistics:
    """Counts of what a walk did so far."""

    entries: int
    opens: int
    stats: int
    batches: int
    bytes: int

@final
class Walk:
    """A listing under way, with one consumer.

    Nothing touches the disk before the pool does: whether the root can be listed is told by
    the first `try_next` that gives an answer.
    """

    def __new__(
        cls,
        path: bytes,
        *,
        form: Literal["stream", "children", "flat", "tree"],
        light: bool,
        include_hash: bool,
        include_content: bool,
        include_extensions: bool,
        code_files_only: bool,
        use_gitignore: bool,
        max_depth: int,
        path_filter: str,
        include_ext: list[str],
        ignore_patterns: list[bytes],
        max_content_budget: int,
        content_limit: int,
        entry_limit: int,
    ) -> Walk: ...
    def try_next(self) -> memoryview | None:
        """The next batch, as Rust wrote it; empty at the end.

        None: wait for `fileno` to be readable, ask again.

        Raises OSError (the root), ValueError (a pattern), RuntimeError (a bug of ours),
        InterruptedError (stopped).
        """

    def fileno(self) -> int:
        """An eventfd that lives as long as this object."""

    def directory(self) -> int | None:
        """The listed directory's descriptor, once the first batch was there; the walk owns it."""

    def stop(self) -> None:
        """Ends the walk at its next entry and frees what it had queued."""

    def statistics(self) -> WalkStatistics: ...

def find(
    path: bytes,
    *,
    query: str,
    case_sensitive: bool,
    fuzzy: bool,
    max_results: int,
    include_hidden: bool,
    use_gitignore: bool,
    ignore_patterns: list[bytes],
) -> Walk:
    """A filename search: its batches are one finished JSON object."""

def targets(
    path: bytes,
    *,
    file_types: list[str],
    include_hidden: bool,
    use_gitignore: bool,
    ignore_patterns: list[bytes],
) -> Walk:
    """What a content search is to search, in batches for ripgrep's command line.

    A batch is paths, an empty word, globs, with a NUL between two words; or, beginning with a
    NUL, `E` or `W`, a path, a NUL and words: an error or a warning.
    """

@final
class Matches:
    """The matches of one search. Without `stream` they are held, up to `most_bytes`."""

    def __new__(
        cls, *, stream: bool, max_results: int | None, context_lines: int, most_bytes: int
    ) -> Matches: ...
    def reader(self, directory: int) -> MatchReader:
        """A reader for one process that searches in this directory."""

    def take_lines(self) -> bytes:
        """The finished lines of a stream; empty where there are none."""

    def finish(self, most: int) -> list[bytes]:
        """`"results":{...}`, sorted, and `,"matches":[...]` for at most 1,000, in pieces."""

    def is_capped(self) -> bool:
        """Whether more was there than the answer may hold: nothing more need be read."""

    def capped_by(self) -> Literal["max_results", "size"] | None:
        """Why."""

    def counts(self) -> tuple[int, int]:
        """(matching lines, files) in the answer."""

@final
class MatchReader:
    """Reads what one ripgrep process prints with `--json`."""

    def feed(self, piece: bytes) -> None:
        """What it printed next. Raises ValueError for what is no message of ripgrep's."""

    def is_complete(self) -> bool:
        """Whether it said that it was done."""

    def again(self) -> MatchReader:
        """A reader for a process that searches in place of this one's, which died: what that
        one told is not told again.
        """

@final
class Watches:
    """All watchers of the process: one inotify instance, at most so many directories.

    Raises OSError where the system gives no instance, no descriptor or no thread.
    """

    def __new__(cls, *, directories: int) -> Watches: ...
    def start(
        self,
        id: str,  # noqa: A002  # as the wire calls it
        path: bytes,
        *,
        excludes: list[bytes],
        use_gitignore: bool,
        debounce_seconds: float,
        log_events: int,
        log_bytes: int,
    ) -> Watcher:
        """A watcher that reads its tree now, in a thread of its own.

        Raises OSError: EAGAIN where too many threads still hang on file systems.
        """

    def fileno(self) -> int:
        """An eventfd, readable when some watcher has become ready, has failed, or has events."""

    def hush(self) -> None:
        """Silences the eventfd; comes before looking at the watchers."""

    def watched(self) -> int:
        """Directories watched, those on the way to a root included."""

    def close(self) -> None:
        """Ends every watcher, and the thread that serves them."""

@final
class WatcherStatus:
    """What a watcher is at the moment."""

    @property
    def is_ready(self) -> bool:
        """Its tree was read: from then on changes are told."""

    @property
    def is_active(self) -> bool:
        """It tells of changes: false once its root has gone."""

    @property
    def dirs(self) -> int:
        """Directories watched."""

    @property
    def incomplete(self) -> str | None:
        """Why it does not cover its tree."""

@final
class Watcher:
    """One watcher, with its change log. Numbers of events go up by one."""

    def status(self) -> WatcherStatus:
        """Raises what kept it from becoming ready: OSError, ValueError (a pattern),
        RuntimeError (a bug of ours), InterruptedError (stopped).
        """

    def seq(self) -> int:
        """The number of the last event."""

    def since(self, seq: int, most: int) -> tuple[bool, int, bool, bytes]:
        """What came after the event `seq`: (fresh, seq, more, JSON objects with commas between).

        Some `most` bytes; `more` says that there is more. `fresh`: it is not known any more.
        """

    def frames(self, seq: int, most: int) -> tuple[bool, int, list[bytes]]:
        """At most so many events after `seq`: (some are lost, seq to go on from, frames)."""

    def stop(self) -> None:
        """Ends it, at once or when its thread comes back from the disk."""

@final
class Kept:
    """How full caches and buffers are, each beside its bound."""

    @property
    def digests(self) -> int:
        """Digests that are remembered."""

    @property
    def most_digests(self) -> int: ...
    @property
    def rules(self) -> int:
        """Bytes of compiled ignore rules."""

    @property
    def indexes(self) -> int:
        """Bytes of the indexes of repositories."""

    @property
    def most_rules(self) -> int:
        """What rules, and indexes too, may take."""

    @property
    def buffered(self) -> int:
        """Bytes of listings and answers that wait for their clients."""

    @property
    def most_buffered(self) -> int: ...

def kept() -> Kept:
    """How full the caches and buffers of this process are now."""

def pool_close() -> None:
    """Ends and joins the thread pool; the next walk makes a new one."""

@final
class Ended:
    """How a process ended: by an exit code, or by a signal's number.

    `max_rss_bytes` is never below what the server had when it started the process.
    """

    @property
    def code(self) -> int | None: ...
    @property
    def signal(self) -> int | None: ...
    @property
    def cpu_seconds(self) -> float: ...
    @property
    def max_rss_bytes(self) -> int: ...

@final
class Process:
    """A child of ours, reached by a descriptor and never by its number.

    Neither closing nor dropping it ends it or waits for it.
    """

    @property
    def pid(self) -> int: ...
    def fileno(self) -> int:
        """Readable once it has ended."""
    def close(self) -> None:
        """Closes the descriptor; every other call raises ValueError from then on."""
    def try_reap(self) -> Ended | None:
        """How it ended, None while it runs. To be asked until it says, and then no more."""
    def signal(self, number: int) -> None:
        """Raises OSError: ESRCH where it has ended."""

def spawn(
    file: bytes,
    arguments: list[bytes],
    environment: list[bytes],
    *,
    directory: bytes,
    standard: tuple[int, int, int],
    terminal: bool,
    cgroup: int | None,
    user: tuple[int, int, list[int]] | None,
    descriptors: tuple[int, int] | None,
) -> Process:
    """Starts a program in a session of its own, with descriptors 0 to 2 and no others.

    `environment` is all of it, `NAME=value`. With `terminal` descriptor 0 becomes the session's
    terminal. `cgroup` is a descriptor of a directory of cgroup v2, `user` is (uid, gid, groups),
    `descriptors` RLIMIT_NOFILE, soft and hard. The calling thread stands still until the program
    runs: to be called in a lane.

    Raises OSError: `strerror` is the step that failed, one of clone, session, descriptors,
    limits, user, directory, exec.
    """

def punch_hole(descriptor: int, size: int) -> None:
    """Frees the first `size` bytes of a file; all others keep their offsets.

    Raises OSError: EOPNOTSUPP where the file system cannot.
    """

@final
class Pack:
    """A tar.gz under way, with one consumer, as a `Walk` is.

    Whether all of `roots` can be packed is told by the first `try_next` that gives an answer.
    """

    def __new__(
        cls, roots: list[tuple[bytes, bytes]], *, exclude_patterns: list[bytes], level: int
    ) -> Pack:
        """`roots` are absolute paths with their names in the archive, "" for its top."""
    def try_next(self) -> bytes | None:
        """The next batch; empty at the end; None: wait for `fileno` to be readable, ask again.

        Raises OSError (a root), ValueError (a pattern), RuntimeError (a bug of ours),
        InterruptedError (stopped).
        """
    def fileno(self) -> int:
        """An eventfd that lives as long as this object."""
    def stop(self) -> None:
        """Ends the work at its next step and frees what it had queued."""
    def packed(self) -> tuple[int, int]:
        """Entries left out, and files that changed while they were read; known at the end."""

@final
class Landed:
    """What an upload has made so far."""

    files: int
    directories: int
    content_bytes: int
    skipped: list[tuple[bytes, str]]
    skipped_total: int

@final
class Extractor:
    """A tar.gz being unpacked into a directory, pushed in as it arrives.

    `push` and `finish` answer with a code of `hutch.wire.errors` and a sentence where the archive
    is at fault; they raise OSError where the file system is, InterruptedError. After either
    nothing may be pushed any more.
    """

    def __new__(
        cls,
        dest: bytes,
        pending: Pending,
        guard: Guard,
        *,
        keep_owner: bool,
        sync: bool,
        entries: int,
        total_bytes: int,
        ratio: int,
        name_bytes: int,
    ) -> Extractor:
        """Looks at `dest`, and makes nothing yet. Raises OSError: ENOTDIR, EACCES, ELOOP."""
    def push(self, data: bytes, stop: Stop) -> tuple[str, str] | None: ...
    def finish(self, stop: Stop) -> tuple[str, str] | None: ...
    def give_up(self) -> None:
        """Leaves what was made in order, and ends; also after `finish`."""
    def landed(self) -> Landed: ...
