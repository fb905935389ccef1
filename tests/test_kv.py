"""The ordered map and the transaction on top of it, against a plain dictionary."""

from __future__ import annotations

from random import Random

import pytest

from raftoral.kv import MemoryKeyValue, Overlay, prefix_end

Pairs = list[tuple[bytes, bytes]]


def expected(pairs: dict[bytes, bytes], prefix: bytes, start: bytes, *, reverse: bool) -> Pairs:
    """Return what a scan yields, the dumb way."""
    found = [
        (key, value)
        for key, value in sorted(pairs.items())
        if key.startswith(prefix) and (not start or (key <= start if reverse else key >= start))
    ]
    return found[::-1] if reverse else found


def some_key(chance: Random) -> bytes:
    """Return a short key; the alphabet has both ends of a byte."""
    return bytes(chance.choice(b"\x00ab\xfe\xff") for _ in range(chance.randrange(4)))


@pytest.mark.parametrize("seed", range(20))
def test_a_map_agrees_with_a_dictionary(seed: int) -> None:
    """Any puts and deletes leave what a dictionary holds, scanned in any way."""
    chance = Random(seed)
    store, plain = MemoryKeyValue(), dict[bytes, bytes]()
    for step in range(200):
        key = some_key(chance)
        if chance.randrange(3):
            store.put(key, b"%d" % step)
            plain[key] = b"%d" % step
        else:
            store.delete(key)
            plain.pop(key, None)
        prefix, start = some_key(chance)[:2], some_key(chance)
        for reverse in (False, True):
            found = list(store.scan(prefix, start, reverse=reverse))
            assert found == expected(plain, prefix, start, reverse=reverse)
        assert store.get(key) == plain.get(key)
    assert store.items() == plain


@pytest.mark.parametrize("seed", range(20))
def test_an_overlay_shows_its_writes_over_the_base(seed: int) -> None:
    """Reads through two overlays equal a dictionary that took every write at once."""
    chance = Random(seed)
    base = MemoryKeyValue({some_key(chance): b"base" for _ in range(20)})
    plain = base.items()
    before = base.items()
    lower = Overlay(base)
    upper = Overlay(lower)
    for step in range(200):
        key = some_key(chance)
        if chance.randrange(3):
            upper.put(key, b"%d" % step)
            plain[key] = b"%d" % step
        else:
            upper.delete(key)
            plain.pop(key, None)
        if chance.randrange(10) == 0:
            lower.absorb(upper)
            assert upper.writes == {}
        prefix, start = some_key(chance)[:2], some_key(chance)
        for reverse in (False, True):
            found = list(upper.scan(prefix, start, reverse=reverse))
            assert found == expected(plain, prefix, start, reverse=reverse)
        assert upper.get(key) == plain.get(key)
    lower.absorb(upper)
    assert base.items() == before
    for key, value in lower.writes.items():
        if value is None:
            base.delete(key)
        else:
            base.put(key, value)
    assert base.items() == plain


def test_cleared_writes_are_gone() -> None:
    """After `clear` an overlay shows its base alone."""
    overlay = Overlay(MemoryKeyValue({b"a": b"1"}))
    overlay.put(b"b", b"2")
    overlay.delete(b"a")
    overlay.clear()
    assert list(overlay.scan(b"")) == [(b"a", b"1")]
    assert overlay.get(b"b") is None


def test_a_range_excludes_its_end() -> None:
    """`between` takes low and leaves high out; None means to the end."""
    store = MemoryKeyValue({bytes([n]): b"" for n in range(5)})
    assert [key[0] for key, _ in store.between(b"\x01", b"\x03")] == [1, 2]
    assert [key[0] for key, _ in store.between(b"\x01", None, reverse=True)] == [4, 3, 2, 1]
    assert list(store.between(b"\x03", b"\x01")) == []


@pytest.mark.parametrize(
    ("prefix", "end"),
    [(b"a", b"b"), (b"a\xff", b"b"), (b"\x00", b"\x01"), (b"\xff\xff", None), (b"", None)],
)
def test_the_end_of_a_prefix_is_the_next_key_that_lacks_it(
    prefix: bytes, end: bytes | None
) -> None:
    """The end is the smallest key behind the prefix's; a prefix of 0xff alone has none."""
    assert prefix_end(prefix) == end
