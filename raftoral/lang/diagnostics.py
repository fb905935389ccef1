"""What is wrong with a source text, as data: one code, one place, what to do about it.

No mistake of a user raises. Every stage adds to one `Diagnostics`; `render` makes text of them.
The codes are stable: RWF00xx reading, 01xx definitions, 02xx names, types and flow, 03xx effects,
04xx limits, 05xx warnings.
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from raftoral.lang.node import changed, node
from raftoral.lang.source import Span

if TYPE_CHECKING:
    from collections.abc import Iterable

Severity: TypeAlias = Literal["error", "warning"]

_UNUSED: Final = frozenset({"RWF0501", "RWF0502", "RWF0506"})

REPORTS_MAX: Final = 50
"""After so many reports the rest is of no use to anyone."""

NEAR_MAX: Final = 400
"""So many words are compared with one that nobody knows."""


class Enough(Exception):
    """There is so much to say that nothing more is worth looking for."""


@node
class Label:
    """Another place that explains the first one."""

    span: Span
    text: str


@node
class Edit:
    """Put ``text`` in the place of a piece of the source."""

    span: Span
    text: str


@node
class Fix:
    """A change that mends a mistake; ``title`` is for the menu of an editor.

    It is ``safe`` if nothing else can have been meant; `raftoral check --fix` applies only those.
    """

    title: str
    edits: tuple[Edit, ...]
    safe: bool = False


def replacing(span: Span, text: str, *, safe: bool = False) -> tuple[Fix, ...]:
    """Return the fix that puts ``text`` in one place."""
    title = f"write `{text.strip()}`" if text else "remove it"
    return (Fix(title, (Edit(span, text),), safe),)


def inserting(offset: int, text: str, *, safe: bool = False) -> tuple[Fix, ...]:
    """Return the fix that adds ``text`` at one place."""
    return (Fix(f"add `{text.strip()}`", (Edit(Span(offset, offset), text),), safe),)


class Meant(str):
    """A label that names the word that was probably meant."""

    __slots__ = ("word",)

    def __new__(cls, word: str) -> Meant:
        """Return ``did you mean `word`?``."""
        made = super().__new__(cls, f"did you mean `{word}`?")
        made.word = word
        return made

    word: str


@node
class Diagnostic:
    """One mistake or warning.

    ``message`` says what is wrong, ``label`` stands under the caret, ``labels`` mark other places,
    ``help`` says what to write, ``notes`` say why, ``fixes`` are changes that a tool can make.
    """

    code: str
    message: str
    span: Span
    label: str = ""
    labels: tuple[Label, ...] = ()
    help: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    severity: Severity = "error"
    fixes: tuple[Fix, ...] = ()


class Diagnostics:
    """The list that all stages share; one report for each place and code."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, int], Diagnostic] = {}
        self._warnings = 0

    def add(self, one: Diagnostic) -> None:
        """Add a report, unless this place already has one of the same code.

        Raises `Enough` with the last error that is kept, for whoever reads the source; warnings
        beyond as many are dropped.
        """
        if isinstance(one.label, Meant) and not one.fixes:
            one = changed(one, fixes=replacing(one.span, one.label.word))
        key = (one.code, one.span.start)
        if key in self._found:
            return
        if one.severity == "warning":
            self._warnings += 1
            if self._warnings > REPORTS_MAX:
                return
        self._found[key] = one
        if len(self._found) - min(self._warnings, REPORTS_MAX) >= REPORTS_MAX:
            raise Enough

    def error(
        self,
        code: str,
        message: str,
        span: Span,
        label: str = "",
        *,
        labels: tuple[Label, ...] = (),
        help: tuple[str, ...] = (),
        notes: tuple[str, ...] = (),
        fixes: tuple[Fix, ...] = (),
    ) -> None:
        """Add an error."""
        self.add(Diagnostic(code, message, span, label, labels, help, notes, fixes=fixes))

    def warning(
        self,
        code: str,
        message: str,
        span: Span,
        label: str = "",
        *,
        help: tuple[str, ...] = (),
        fixes: tuple[Fix, ...] = (),
    ) -> None:
        """Add a warning, which stops nothing."""
        self.add(Diagnostic(code, message, span, label, (), help, (), "warning", fixes))

    def __len__(self) -> int:
        """Return how much there is to say so far."""
        return len(self._found)

    def take(self, others: Diagnostics) -> None:
        """Add everything that another list holds."""
        for one in others._found.values():
            self.add(one)

    @property
    def has_errors(self) -> bool:
        """Tell whether anything must be mended before the text can run."""
        return any(one.severity == "error" for one in self._found.values())

    def all(self) -> tuple[Diagnostic, ...]:
        """Return everything, in the order of the text.

        What is unused is not said while something else is wrong: that may be the reason.
        """
        wrong = self.has_errors
        kept = [one for one in self._found.values() if not (wrong and one.code in _UNUSED)]
        return tuple(sorted(kept, key=lambda one: (one.span.start, one.code)))


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Return the known word that was probably meant, or None."""
    pool = sorted({k for k in known if k != word})
    folded = word.lower()
    for one in pool:
        if one.lower() == folded:
            return one
    size = len(word)
    near = [one for one in pool if abs(len(one) - size) <= 1 + size // 3][:NEAR_MAX]
    found = difflib.get_close_matches(word[:80], near, 1, 0.7)
    return found[0] if found else None


def did_you_mean(word: str, known: Iterable[str], otherwise: str = "") -> str:
    """Return `Meant` for the nearest known word, else ``otherwise``."""
    near = nearest(word, known)
    return Meant(near) if near else otherwise
