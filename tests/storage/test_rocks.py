"""What only a real disk can show: damage, locks, full disks, killed processes."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from contextlib import suppress
from functools import partial
from pathlib import Path
from random import Random
from shutil import Error as CopyError
from shutil import copy2, copytree, rmtree, which
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pytest

from raftoral.errors import CorruptionError, RaftoralError, StorageFailed, UsageError
from raftoral.ids import GroupId, Index, NodeId, Term
from raftoral.raft.messages import Entry, EntryKind, HardState
from raftoral.storage import wal
from raftoral.storage.base import Identity
from raftoral.storage.folder import Folder
from raftoral.storage.rocks import RocksDisk, RocksNodeStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

G = GroupId(1)
PRELUDE = """
import os, resource, signal, sys
from raftoral.errors import StorageFailed
from raftoral.storage.rocks import RocksNodeStore
from raftoral.raft.messages import Entry, EntryKind, HardState
store = RocksNodeStore(sys.argv[1])
group = store.group(1)
"""


def advance(store: RocksNodeStore, to: int, *, sync: bool) -> None:
    """Append entry ``to`` and apply it, in one flush."""
    group = store.group(G)
    group.append([Entry(Term(1), Index(to), EntryKind.NORMAL, b"entry %d" % to)])
    group.set_hard_state(HardState(Term(1), NodeId(1), Index(to)))
    group.machine.put(b"sum", b"%d" % to)
    group.set_applied(Index(to))
    group.stage()
    store.flush(sync=sync)


def state(path: Path) -> int:
    """Open the store, check that it is consistent in itself, and return its last index."""
    store = RocksNodeStore(path)
    try:
        group = store.group(G)
        last = group.last_index()
        stored = group.entries(Index(1), Index(last + 1), 2**30)
        assert [entry.data for entry in stored] == [b"entry %d" % n for n in range(1, last + 1)]
        assert group.applied == last
        assert group.machine.get(b"sum") == (b"%d" % last if last else None)
        assert group.initial_state()[0].commit == last
        return int(last)
    finally:
        store.close()


def newest_wal(path: Path) -> Path:
    """Return the write-ahead log that is written now; older ones may vanish at any moment."""
    return max((path / "db").glob("*.log"), key=lambda file: file.name)


def killed(path: Path, copy: Path) -> Path:
    """Return a copy of the folder as a killed process leaves it: all files as of one moment.

    The database goes on in the background while its folder is copied. Soon after it opened, for one,
    it deletes the manifest that it began with. So a copy counts if nothing changed around it.
    """
    for _ in range(1_000):
        rmtree(copy, ignore_errors=True)
        with suppress(CopyError, FileNotFoundError):
            before = files(path)
            copytree(path, copy)
            if files(path) == before:
                return copy
    raise AssertionError(f"{path} never stops changing")


def files(path: Path) -> set[tuple[str, int, int, int]]:
    """Return every file below ``path`` with what tells one state of it from another."""
    found = ((file, file.stat()) for file in path.rglob("*"))
    return {(str(file), stat.st_ino, stat.st_size, stat.st_mtime_ns) for file, stat in found}


def test_the_image_of_a_kill_is_of_one_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that goes, comes or grows while the folder is copied makes the copy begin anew."""
    source = tmp_path / "data"
    source.mkdir()
    for name in ("a", "b", "c"):
        (source / name).write_bytes(b"1")
    happens: list[Callable[[], object]] = [
        (source / "c").unlink,
        lambda: (source / "d").write_bytes(b"1"),
        lambda: (source / "a").write_bytes(b"12"),
    ]

    def meanwhile(one: str, other: str) -> object:
        if one.endswith("b") and happens:
            happens.pop(0)()
        return copy2(one, other)

    monkeypatch.setitem(globals(), "copytree", partial(copytree, copy_function=meanwhile))
    image = killed(source, tmp_path / "image")
    assert not happens
    assert {file.name: file.read_bytes() for file in image.iterdir()} == {
        "a": b"12",
        "b": b"1",
        "d": b"1",
    }


# ------------------------------------------------------------------ damage
@pytest.fixture
def in_memory(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory where the system has one: damage is the same there, and syncs are free."""
    if not os.access("/dev/shm", os.W_OK):
        yield tmp_path
        return
    with TemporaryDirectory(dir="/dev/shm") as path:
        yield Path(path)


def test_no_flipped_bit_in_the_log_passes_unnoticed(in_memory: Path) -> None:
    """A bit flipped in any byte of the write-ahead log costs at most what was never synced.

    Five flushes, the third being the last synced one: a flip in the fourth or fifth may cut
    those off; any other is a `CorruptionError`, be it in a length, a checksum or a payload.
    """
    store = RocksNodeStore(in_memory / "data")
    sizes = []
    for index in range(1, 6):
        advance(store, index, sync=index == 3)
        sizes.append(newest_wal(in_memory / "data").stat().st_size)
    image = killed(in_memory / "data", in_memory / "image")
    store.close()
    data = newest_wal(image).read_bytes()
    name = newest_wal(image).name
    assert sizes[-1] == len(data)
    flips = [(at, at % 8) for at in range(len(data))]
    flips += [(start + 6, bit) for start in (0, *sizes[:-1]) for bit in range(8)]  # record types
    for at, bit in flips:
        copy = killed(image, in_memory / "copy")
        flipped = bytearray(data)
        flipped[at] ^= 1 << bit
        (copy / "db" / name).write_bytes(flipped)
        if at < sizes[2]:
            with pytest.raises(CorruptionError, match=f"{copy} is damaged.*join the cluster again"):
                state(copy)
        else:
            assert state(copy) in (3, 4), f"bit {bit} of byte {at}"


@pytest.mark.parametrize("tail", ["cut", "zeros", "garbage", "recycled", "more"])
def test_a_torn_tail_is_accepted(tmp_path: Path, tail: str) -> None:
    """Whatever a crash leaves of the writes after the last sync, the store opens without them."""
    store = RocksNodeStore(tmp_path / "data")
    advance(store, 1, sync=True)
    advance(store, 2, sync=True)
    kept = newest_wal(tmp_path / "data").stat().st_size
    advance(store, 3, sync=False)
    image = killed(tmp_path / "data", tmp_path / "image")
    store.close()
    wal = newest_wal(image)
    data = wal.read_bytes()
    torn = {
        "cut": data[: kept + 20],
        "zeros": data[: kept + 20] + bytes(len(data) - kept - 20),
        "garbage": data[:kept] + b"\xa5" * (len(data) - kept),
        "recycled": data[:kept] + bytes(range(1, 1 + len(data) - kept)),  # byte 6 is a type
        "more": data + b"\xa5" * 700,
    }[tail]
    wal.write_bytes(torn)
    assert state(image) == (3 if tail == "more" else 2)
    store = RocksNodeStore(image)
    advance(store, store.group(G).last_index() + 1, sync=True)
    store.close()
    assert state(image) == (4 if tail == "more" else 3)


@pytest.mark.parametrize("lost", ["cut", "empty", "gone"])
def test_a_lost_synced_tail_is_refused_every_time(tmp_path: Path, lost: str) -> None:
    """A log that lost a synced record is refused, at the second attempt as at the first."""
    store = RocksNodeStore(tmp_path / "data")
    for index in range(1, 4):
        advance(store, index, sync=True)
    image = killed(tmp_path / "data", tmp_path / "image")
    store.close()
    wal = newest_wal(image)
    match lost:
        case "cut":
            wal.write_bytes(wal.read_bytes()[:-1])
        case "empty":
            wal.write_bytes(b"")
        case _:
            wal.unlink()
    for _ in range(2):
        with pytest.raises(CorruptionError, match="were synced"):
            RocksNodeStore(image)


def test_a_sound_log_is_not_cut(tmp_path: Path) -> None:
    """Whatever the sizes of records are, a log ends where RocksDB stopped writing, room or not."""
    chance = Random(4)
    store = RocksNodeStore(tmp_path / "data")
    group = store.group(G)
    end = 0
    for index in range(1, 400):
        size = chance.choice((0, 1, 50, 5_000, 32_000, 33_000, 90_000))
        data = chance.randbytes(chance.randint(size // 2, size))
        group.append([Entry(Term(1), Index(index), EntryKind.NORMAL, data)])
        store.flush(sync=False)
        if index % 20 == 0:
            log = newest_wal(tmp_path / "data").read_bytes()
            end = wal.end_of(log)
            written = len(log.rstrip(b"\0"))
            assert written <= end <= written + 8  # a record's own zeros, or the rest of a block
            assert wal.end_of(log + bytes(100_000)) in range(end, end + 7)
    store.close()


def test_a_log_gets_room_and_keeps_what_it_holds(tmp_path: Path) -> None:
    """The log that is written is made longer once, each later one too, and nothing is lost by it."""
    store = RocksNodeStore(tmp_path / "data")
    logs = set()
    for index in range(1, 121):
        group = store.group(G)
        group.append([Entry(Term(1), Index(index), EntryKind.NORMAL, bytes(100_000))])
        store.flush(sync=True)
        log = newest_wal(tmp_path / "data")
        assert log.stat().st_size == wal.ROOM_BYTES
        logs.add(log)
    assert len(logs) > 1
    image = killed(tmp_path / "data", tmp_path / "image")
    store.close()
    for path in (image, tmp_path / "data"):
        again = RocksNodeStore(path)
        assert again.group(G).last_index() == 120
        again.close()


def test_nothing_behind_a_hole_comes_back(tmp_path: Path) -> None:
    """If a crash keeps a later block of unsynced writes and not an earlier one, both are gone.

    RocksDB itself takes the hole for room and would go on behind it.
    """
    path = tmp_path / "data"
    disk = RocksDisk(str(path))
    block = 32 * 1024

    def write(number: int, size: int) -> None:
        batch = disk.batch()
        batch.put(b"%d" % number, bytes([number]) * size)
        disk.write(batch, sync=number == 0)

    write(0, 10)
    fill = block - newest_wal(path).stat().st_size - 7 - 12 - 6  # headers, and a key's lengths
    write(1, fill)
    assert newest_wal(path).stat().st_size == block, "the first record ends with its block"
    for number in (2, 3):
        write(number, block - 25)
    assert newest_wal(path).stat().st_size >= 3 * block
    image = killed(path, tmp_path / "image")
    disk.close()
    log = newest_wal(image)
    data = bytearray(log.read_bytes())
    data[block : 2 * block] = bytes(block)
    log.write_bytes(data)
    disk = RocksDisk(str(image))
    assert [disk.get(b"%d" % number) is not None for number in range(4)] == [
        True,
        True,
        False,
        False,
    ]
    disk.close()


def test_a_damaged_table_is_refused(tmp_path: Path) -> None:
    """A flipped bit in a table file is found by opening or by reading, never passed on."""
    path = tmp_path / "data"
    store = RocksNodeStore(path)
    for index in range(1, 50):
        advance(store, index, sync=False)
    store.close()
    (table,) = (path / "db").glob("*.sst")
    data = table.read_bytes()
    for at in range(0, len(data), 97):
        copy = killed(path, tmp_path / "copy")
        flipped = bytearray(data)
        flipped[at] ^= 0x10
        (copy / "db" / table.name).write_bytes(flipped)
        # A bit in a part that is never read does no harm.
        with suppress(CorruptionError):
            assert state(copy) == 49


@pytest.mark.parametrize("name", ["CURRENT", "MANIFEST", "*.sst"])
def test_a_missing_file_is_refused(tmp_path: Path, name: str) -> None:
    """A database that lost a file is never taken for a new one."""
    path = tmp_path / "data"
    store = RocksNodeStore(path)
    advance(store, 1, sync=True)
    store.close()
    for file in (path / "db").glob(name if "*" in name else f"{name}*"):
        file.unlink()
    with pytest.raises(CorruptionError, match="remove it"):
        state(path)


def test_a_missing_or_damaged_mark_is_refused(tmp_path: Path) -> None:
    """Without the mark nobody can tell what was synced, so the store says it is damaged."""
    path = tmp_path / "data"
    store = RocksNodeStore(path)
    advance(store, 1, sync=True)
    store.close()
    mark = path / "synced"
    good = mark.read_bytes()
    mark.write_bytes(bytes([good[0] ^ 1]) + good[1:])
    assert state(path) == 1  # one place is enough
    mark.write_bytes(b"\xff" * len(good))
    with pytest.raises(CorruptionError, match="`synced` is not what was written"):
        RocksNodeStore(path)
    mark.unlink()
    with pytest.raises(CorruptionError, match="`synced` is missing"):
        RocksNodeStore(path)


def test_a_mark_that_was_half_made_is_made_again(tmp_path: Path) -> None:
    """A crash in the very first opening leaves nothing behind that looks like damage."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "synced.new").write_bytes(bytes(5))
    RocksNodeStore(tmp_path / "data").close()
    assert {file.name for file in (tmp_path / "data").iterdir()} == {"db", "lock", "synced"}
    assert state(tmp_path / "data") == 0


def test_the_mark_itself_is_synced_once_a_second(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Marking costs a sync only when a second has passed since the last one."""
    synced: list[int] = []
    monkeypatch.setattr(os, "fdatasync", synced.append)
    now = [0.0]
    folder = Folder(str(tmp_path / "data"), clock=lambda: now[0])
    for tenth in range(31):
        now[0] = tenth / 10
        folder.mark(tenth)
    folder.close()
    assert len(synced) == 3
    reopened = Folder(str(tmp_path / "data"))
    assert reopened.synced == 30
    reopened.close()


# ------------------------------------------------------------------ the folder
def test_a_folder_in_use_is_refused_with_its_pid(tmp_path: Path) -> None:
    """A second process, and a second store of the same process, learn who uses the folder."""
    path = tmp_path / "data"
    store = RocksNodeStore(path)
    with pytest.raises(UsageError, match=rf"{path} is in use by process {os.getpid()}"):
        RocksNodeStore(path)
    other = run(PRELUDE, path)
    assert f"in use by process {os.getpid()}" in other.stderr
    store.close()
    assert run(PRELUDE, path).returncode == 0


def test_a_new_folder_is_for_its_owner_alone(tmp_path: Path) -> None:
    """Other users of the machine do not read the inputs and results of runs, whatever the umask."""
    before = os.umask(0o022)
    try:
        RocksNodeStore(tmp_path / "data").close()
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700


def test_a_folder_that_cannot_be_used_is_a_usage_error(tmp_path: Path) -> None:
    """A missing parent and a file in the place of the folder are named."""
    file = tmp_path / "file"
    file.write_text("not a folder")
    for path in (tmp_path / "missing" / "data", file, file / "data"):
        with pytest.raises(UsageError, match=f"cannot keep data in {path}"):
            RocksNodeStore(path)


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is forbidden to root")
def test_a_folder_without_permission_is_a_usage_error(tmp_path: Path) -> None:
    """A folder that this process may not write to is named."""
    tmp_path.chmod(0o500)
    with pytest.raises(UsageError, match="Permission denied"):
        RocksNodeStore(tmp_path / "data")


def test_a_failed_opening_lets_go_of_the_folder(tmp_path: Path) -> None:
    """After an error at the opening the folder can be opened again at once."""
    path = tmp_path / "data"
    store = RocksNodeStore(path)
    store.set_identity(Identity("blue", NodeId(1), "alpha", format=99))
    store.close()
    for _ in range(2):
        with pytest.raises(UsageError, match="format 99"):
            RocksNodeStore(path)


def test_an_open_export_does_not_keep_the_folder(tmp_path: Path) -> None:
    """Closing the store ends an export under way with an error and frees the database."""
    path = tmp_path / "data"
    store = RocksNodeStore(path)
    advance(store, 1, sync=True)
    group = store.group(G)
    for number in range(2000):
        group.machine.put(b"key%d" % number, b"v" * 1000)
    group.stage()
    stream = iter(group.export())
    next(stream)
    store.close()
    with pytest.raises(StorageFailed, match="closed while it was read"):
        list(stream)
    RocksNodeStore(path).close()


# ------------------------------------------------------------------ processes
def run(script: str, path: Path) -> subprocess.CompletedProcess[str]:
    """Run ``script`` on the folder ``path`` in a process of its own."""
    return subprocess.run(
        [sys.executable, "-c", script, str(path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


WRITER = (
    PRELUDE
    + """
for n in range(group.last_index() + 1, 1_000_000):
    group.append([Entry(1, n, EntryKind.NORMAL, b"entry %d" % n)])
    group.set_hard_state(HardState(1, 1, n))
    group.machine.put(b"sum", b"%d" % n)
    group.set_applied(n)
    group.stage()
    store.flush(sync=True)
    print(n, flush=True)
"""
)


@pytest.mark.processes
def test_what_a_killed_process_acknowledged_is_there(tmp_path: Path) -> None:
    """Killed in the middle of writing, five times over, a store loses nothing it had synced."""
    path = tmp_path / "data"
    last = 0
    for acknowledged in (1, 40, 7, 150, 3):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True
        )
        assert writer.stdout is not None
        for _ in range(acknowledged):
            last = int(writer.stdout.readline())
        writer.send_signal(signal.SIGKILL)
        last = max([last, *map(int, writer.stdout.read().split("\n")[:-1])])
        writer.stdout.close()
        writer.wait()
        assert state(path) >= last


FILLER = (
    PRELUDE
    + """
if len(sys.argv) > 2:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
n = group.last_index()
try:
    while True:
        n += 1
        group.append([Entry(1, n, EntryKind.NORMAL, os.urandom(5000))])
        store.flush(sync=True)
        print(n, flush=True)
except StorageFailed as error:
    print(f"{error}", file=sys.stderr)
try:
    store.flush(sync=True)
except StorageFailed as error:
    print(f"{error}", file=sys.stderr)
os._exit(3)
"""
)


def acknowledged_are_there(done: subprocess.CompletedProcess[str], path: Path) -> None:
    """Check that a filler stopped at its first failure and kept what it had acknowledged."""
    assert done.returncode == 3, done.stderr
    first, second = done.stderr.strip().splitlines()
    assert first.startswith("cannot write to")
    assert "takes nothing more" in second
    acknowledged = [int(line) for line in done.stdout.split()]
    assert len(acknowledged) > 5
    store = RocksNodeStore(path)
    group = store.group(G)
    assert group.last_index() >= acknowledged[-1]
    store.close()


@pytest.mark.processes
def test_a_file_that_may_not_grow_stops_the_store(tmp_path: Path) -> None:
    """At the limit of a file's size the store stops, and what it acknowledged is there."""
    path = tmp_path / "data"
    RocksNodeStore(path).close()
    done = subprocess.run(
        [sys.executable, "-c", FILLER, str(path), "limit"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    acknowledged_are_there(done, path)


@pytest.mark.processes
def test_a_full_disk_stops_the_store(tmp_path: Path) -> None:
    """On a full disk the store stops; with room again, what it acknowledged is there."""
    disk = tmp_path / "small"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(disk)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount a small disk")
    try:
        done = run(FILLER, disk / "data")
        with pytest.raises(RaftoralError):  # no room, not even to open
            RocksNodeStore(disk / "data").close()
        subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True)
        acknowledged_are_there(done, disk / "data")
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.processes
def test_a_failed_sync_stops_the_store(tmp_path: Path) -> None:
    """One sync that fails is the last, though the kernel would say yes to the next."""
    path = tmp_path / "data"
    RocksNodeStore(path).close()
    inject = ["-e", "trace=fdatasync", "-e", "inject=fdatasync:error=EIO:when=40"]
    strace = which("strace")
    if strace is None:
        pytest.skip("needs strace to let a sync fail")
    done = subprocess.run(
        [strace, "-f", "-o", "/dev/null", *inject, sys.executable, "-c", FILLER, str(path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    acknowledged_are_there(done, path)
