"""The nodes of the tree behave as frozen dataclasses do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from raftoral.lang import ast
from raftoral.lang.source import Span

if TYPE_CHECKING:
    from collections.abc import Callable

HERE = Span(1, 2)


def test_nodes_are_values() -> None:
    """Equal places make equal nodes of equal hash; another class is another value."""
    one, same = ast.Ident(HERE, "a"), ast.Ident(span=HERE, text="a")
    assert one == same
    assert hash(one) == hash(same)
    assert one != ast.Ident(HERE, "b")
    assert ast.Break(HERE) != ast.Continue(HERE)
    assert repr(one) == "Ident(span=Span(start=1, end=2), text='a')"


def test_nodes_do_not_change() -> None:
    """A place is set once, and there are no others."""
    one = ast.Ident(HERE, "a")
    for name in ("text", "other"):
        with pytest.raises(AttributeError, match="does not change"):
            setattr(one, name, "b")
    with pytest.raises(AttributeError):
        del one.text
    assert not hasattr(one, "__dict__")


def test_every_place_is_given() -> None:
    """Too few, too many or unknown values make no node."""
    wrong: list[Callable[[], object]] = [
        lambda: ast.Ident(HERE),  # type: ignore[call-arg]
        lambda: ast.Ident(HERE, "a", "b"),  # type: ignore[call-arg]
        lambda: ast.Ident(HERE, other="a"),  # type: ignore[call-arg]
    ]
    for make in wrong:
        with pytest.raises((TypeError, ValueError, KeyError)):
            make()


def test_nodes_match_by_position() -> None:
    """A pattern takes the places in their order."""
    match ast.Ident(HERE, "a"):
        case ast.Ident(span, text):
            assert (span, text) == (HERE, "a")
