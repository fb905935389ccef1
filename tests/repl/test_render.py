"""What the debugger prints on a terminal that has colours."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING

from raftoral_repl.commands import Listing
from raftoral_repl.render import Screen

if TYPE_CHECKING:
    import pytest

LINES = ((3, "  compute x = a.b(1)"), (4, '  log "done \x1b[2J"'))


def test_a_listing_is_painted_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """The words of a workflow have colours, the text is the plain one, and nothing escapes."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    out = io.StringIO()
    Screen(out, terminal=True).show(Listing("shop.rwf", LINES, 3))
    painted = out.getvalue()
    assert "\x1b[2J" not in painted
    assert re.search(r"\x1b\[[0-9;]*m\x1b?\[?[0-9;]*m?compute", painted)
    plain = re.sub(r"\x1b\[[0-9;]*m", "", painted)
    assert plain == 'shop.rwf\n> 3    compute x = a.b(1)\n  4    log "done \\x1b[2J"\n'


def test_a_listing_is_plain_elsewhere() -> None:
    """In a pipe the same lines come without colours."""
    out = io.StringIO()
    Screen(out).show(Listing("shop.rwf", LINES[:1], 3))
    assert out.getvalue() == "shop.rwf\n> 3    compute x = a.b(1)\n"
