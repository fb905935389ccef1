"""Where everything of a picture stands: nodes as figures with a size, built from the inside out.

A figure has an axis, the line that control comes in on at its top and leaves by at its bottom. What
usually happens runs straight down the axis; other ways go to the right and come back. All lengths
are in pixels. Text is set in a font whose letters all have one width, so nothing must be measured.
"""

from __future__ import annotations

import textwrap
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, TypeAlias, assert_never

from raftoral.lang.graph.flow import (
    Choice,
    End,
    Flow,
    Frame,
    Guard,
    Lanes,
    Node,
    Step,
    Way,
    gives,
    leaves,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from raftoral.lang.graph.svg import Canvas

LETTER: Final = 7.25
"""The width of a letter of 12 px."""
SMALL: Final = 6.65
"""The width of a letter of 11 px."""
GAP: Final = 26
"""Between two figures, above one another: room for an arrow."""
ASIDE: Final = 34
"""Between two ways, beside one another."""
LINE: Final = 17
WORDS_MAX: Final = 46
LINES_MAX: Final = 4

Paint: TypeAlias = "Callable[[Canvas, float, float], None]"


@dataclass(frozen=True, slots=True)
class Figure:
    """A painted node: ``axis`` from its left edge; ``ends`` if nothing leaves at its bottom."""

    width: float
    height: float
    axis: float
    ends: bool
    paint: Paint
    framed: bool = False
    """Whether the line that comes in goes on inside, to the first figure of the frame."""
    always: bool = False
    """Whether it is reached however the figure before it ends."""


def short(text: str, most: int = WORDS_MAX) -> str:
    """Return the beginning of a text that is too long."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def lines_of(text: str, most: int = WORDS_MAX) -> list[str]:
    """Return a text over as many lines as it needs, at most four."""
    found = textwrap.wrap(text, most, subsequent_indent="  ", break_on_hyphens=False) or [""]
    if len(found) > LINES_MAX:
        found = [*found[: LINES_MAX - 1], short(found[LINES_MAX - 1] + " " * most, most).rstrip()]
    return found


def sequence(flow: Flow) -> Figure:
    """Return the figures of a flow above one another, with arrows between them."""
    return _stacked([_figure(node) for node in flow], ends=leaves(flow))


def _stacked(figures: list[Figure], *, ends: bool) -> Figure:
    if not figures:
        return Figure(0, 0, 0, ends=False, paint=lambda canvas, x, y: None)
    axis = max(one.axis for one in figures)
    right = max(one.width - one.axis for one in figures)
    height = sum(one.height for one in figures) + GAP * (len(figures) - 1)

    def paint(canvas: Canvas, x: float, y: float) -> None:
        for number, one in enumerate(figures):
            if number and not figures[number - 1].ends:
                _to(canvas, one)([(x + axis, y - GAP), (x + axis, y)])
            elif one.always:
                canvas.line([(x + axis, y - GAP), (x + axis, y)], "back")
            one.paint(canvas, x + axis - one.axis, y)
            y += one.height + GAP

    return Figure(axis + right, height, axis, ends, paint, framed=figures[0].framed)


def _to(canvas: Canvas, figure: Figure) -> Callable[[list[tuple[float, float]]], None]:
    """Return what draws the way to a figure: the tip of the arrow is where the way ends."""
    return canvas.line if figure.framed else canvas.arrow


def _figure(node: Node) -> Figure:
    match node:
        case Step():
            return _step(node)
        case End():
            return _end(node)
        case Choice():
            return _choice(node)
        case Frame():
            return _frame(node)
        case Lanes():
            return _lanes(node)
        case Guard():
            return _guard(node)
        case _:
            assert_never(node)


# ------------------------------------------------------------------ boxes
def _step(step: Step) -> Figure:
    """Return a box with a coloured edge: what it is, what it does, and its clauses below."""
    plain = step.kind == "let"
    kicker = "" if plain else step.kind
    beside = len(kicker) * SMALL + 10 if kicker else 0
    words = lines_of(step.text)
    small = [line for one in step.clauses for line in lines_of(one, WORDS_MAX + 6)]
    undo = f"undone by {step.undo}" if step.undo else ""
    small += [undo] if undo else []
    widths = [beside + len(one) * LETTER for one in words] + [len(one) * SMALL for one in small]
    width = max([*widths, 90]) + 30
    height = 13 + LINE * (len(words) + len(small))

    def paint(canvas: Canvas, x: float, y: float) -> None:
        canvas.box(x, y, width, height, f"step {step.kind}", hint=f"{step.kind} {step.text}")
        if kicker:
            canvas.text(x + 16, y + 19.5, kicker, f"kicker {step.kind}")
        y += 19.5
        for one in words:
            canvas.text(x + 16 + beside, y, one, "faint code" if plain else "code")
            y += LINE
        for one in small:
            canvas.text(x + 16, y, one, "small undo" if one is undo else "small")
            y += LINE

    return Figure(width, height, width / 2, ends=False, paint=paint)


def _end(end: End) -> Figure:
    words = lines_of(f"{end.kind} {end.text}".strip())
    width = max(len(one) for one in words) * LETTER + 36
    height = 11 + LINE * len(words)

    def paint(canvas: Canvas, x: float, y: float) -> None:
        hint = f"{end.kind} {end.text}"
        canvas.pill(x, y, width, height, f"end {end.kind}", hint=hint, radius=14)
        for number, one in enumerate(words):
            at = x + width / 2 if len(words) == 1 else x + 18
            style = "code middle" if len(words) == 1 else "code"
            canvas.text(at, y + 18.5 + LINE * number, one, style)

    return Figure(width, height, width / 2, ends=True, paint=paint)


def _head(label: str, style: str) -> Figure:
    """Return the small label on top of a lane or of what catches an error."""
    words = short(label, 40)
    width = len(words) * SMALL + 24

    def paint(canvas: Canvas, x: float, y: float) -> None:
        canvas.pill(x, y, width, 24, f"head {style}", hint=label)
        canvas.text(x + width / 2, y + 16, words, "small-code middle")

    return Figure(width, 24, width / 2, ends=False, paint=paint)


# ------------------------------------------------------------------ choices
def _diamond(choice: Choice) -> Figure:
    words = short(choice.text, 44)
    kicker = "await " if choice.waits else ""
    inner = len(words) * LETTER + len(kicker) * SMALL
    width, height = max(inner / 0.72 + 16, 110), 50.0
    if choice.waits:
        width, height = inner + 44, 32.0

    def paint(canvas: Canvas, x: float, y: float) -> None:
        hint = f"{kicker}{choice.text}"
        if choice.waits:
            canvas.box(x, y, width, height, "step await", hint=hint)
            canvas.text(x + 18, y + 20.5, "await", "kicker await")
            canvas.text(x + 18 + len(kicker) * SMALL + 3, y + 20.5, words, "code")
        else:
            canvas.diamond(x, y, width, height, hint=hint)
            canvas.text(x + width / 2, y + height / 2 + 4, words, "code middle")

    return Figure(width, height, width / 2, ends=False, paint=paint)


def _choice(choice: Choice) -> Figure:
    """Return a diamond; the way that goes on runs straight down, the others to its right."""
    head = _diamond(choice)
    ways = list(choice.ways)
    straight = next((way for way in ways if not leaves(way.flow) and way.flow), None)
    straight = straight or next((way for way in ways if not leaves(way.flow)), ways[0])
    aside = [way for way in ways if way is not straight]
    main = sequence(straight.flow)
    sides = [sequence(way.flow) for way in aside]
    drop = GAP + 8 if main.height else 14

    axis = max(head.axis, main.axis)
    inside = max(head.width - head.axis, main.width - main.axis, len(straight.label) * SMALL + 10)
    labels = [short(way.label, 30) for way in aside]
    # Each way stands right of everything before it, and of its own label on the line to it.
    at, tip_at = axis + inside + ASIDE, axis + head.width - head.axis
    centres: list[float] = []
    for side, label in zip(sides, labels, strict=True):
        room = len(label) * SMALL + 22
        centres.append(max(at + side.axis, tip_at + room))
        tip_at = centres[-1]
        at = max(tip_at + side.width - side.axis + ASIDE, tip_at + 12)
    width = max(at - ASIDE, tip_at + 4)
    tallest = max([main.height, *(side.height for side in sides)])
    ends = all(leaves(way.flow) for way in ways)
    height = head.height + drop + tallest + (0 if ends else 16)

    def paint(canvas: Canvas, x: float, y: float) -> None:
        middle = x + axis
        head.paint(canvas, middle - head.axis, y)
        top = y + head.height
        under = top + drop + main.height
        if main.height:
            _to(canvas, main)([(middle, top), (middle, top + drop)])
        else:
            canvas.line([(middle, top), (middle, under)])
        canvas.text(middle + 6, top + 13, short(straight.label, 30), "label")
        main.paint(canvas, middle - main.axis, top + drop)
        if not leaves(straight.flow):
            canvas.line([(middle, under), (middle, y + height)])
        tip = middle + head.width - head.axis
        for way, side, offset, label in zip(aside, sides, centres, labels, strict=True):
            centre = x + offset
            begin, from_ = y + head.height / 2, (tip, y + head.height / 2)
            canvas.text(centre - 9, begin - 6, label, "label right")
            if side.height:
                _to(canvas, side)([from_, (centre, begin), (centre, top + drop)])
                side.paint(canvas, centre - side.axis, top + drop)
            if not leaves(way.flow):
                bottom = top + drop + side.height
                points = [(centre, bottom), (centre, y + height - 8), (middle, y + height - 8)]
                canvas.line(points if side.height else [from_, (centre, begin), *points[1:]])
        if not ends and any(not leaves(way.flow) for way in aside):
            canvas.dot(middle, y + height - 8)

    return Figure(width, height, axis, ends, paint)


# ------------------------------------------------------------------ frames
def _framed(inner: Figure, title: str, style: str, *, back: bool = False) -> Figure:
    """Return a figure with a titled frame; ``back`` draws the way back to its top."""
    words = short(title, 64)
    left = 30 if back else 18
    width = max(inner.width + left + 18, len(words) * SMALL + 40)
    shift = max(left, (width - inner.width) / 2 if inner.width + left + 18 < width else left)
    head, tail = 40.0, 22.0 if back else 18.0
    height = head + inner.height + tail

    def paint(canvas: Canvas, x: float, y: float) -> None:
        canvas.frame(x, y, width, height, style)
        canvas.text(x + 14, y + 17, words, f"title {style}")
        middle, top, bottom = x + shift + inner.axis, y + head, y + head + inner.height
        _to(canvas, inner)([(middle, y), (middle, top)])
        inner.paint(canvas, x + shift, top)
        if back:
            points = [(middle, bottom), (middle, bottom + 11), (x + 13, bottom + 11)]
            canvas.arrow([*points, (x + 13, y + 28), (middle, y + 28)], "back")

    ends = inner.ends and not back
    return Figure(width, height, shift + inner.axis, ends, paint, framed=True)


def _frame(frame: Frame) -> Figure:
    inner = sequence(frame.flow)
    if not frame.flow:
        inner = _step(Step("let", "nothing"))
    loop = frame.kind == "loop"
    made = _framed(inner, frame.text, frame.kind, back=loop and not inner.ends)
    if frame.kind in ("loop", "fan"):
        made = replace(made, ends=False)
    if frame.kind == "finally":
        made = replace(made, always=True)
    if frame.kind != "fan":
        return made

    def paint(canvas: Canvas, x: float, y: float) -> None:
        for shift in (10, 5):  # the turns behind the first
            canvas.frame(x + shift, y + shift, made.width, made.height, "fan behind")
        made.paint(canvas, x, y)

    return replace(made, width=made.width + 10, height=made.height + 10, paint=paint)


def _lanes(lanes: Lanes) -> Figure:
    """Return lanes beside one another between two bars."""
    columns = [_lane(way) for way in lanes.lanes]
    gives_ = [gives(way.flow) for way in lanes.lanes]
    tall = max(one.height for one in columns)
    wide = sum(one.width for one in columns) + 14 * (len(columns) - 1)
    words = short(f"{lanes.kind}: {lanes.text}", 64)
    width = max(wide, 2 * (len(words) * SMALL + 14))  # the line that comes in is right of them
    head, pad = 26.0, 12.0
    height = head + 6 + pad + tall + pad + 6

    def paint(canvas: Canvas, x: float, y: float) -> None:
        canvas.text(x + 2, y + 17, words, f"title {lanes.kind}")
        canvas.bar(x, y + head, width, lanes.kind)
        canvas.arrow([(x + width / 2, y), (x + width / 2, y + head)])
        at, top = x + (width - wide) / 2, y + head + 6 + pad
        for column, given in zip(columns, gives_, strict=True):
            canvas.frame(at, top, column.width, tall, f"lane {lanes.kind}")
            middle = at + column.axis
            canvas.arrow([(middle, top - pad), (middle, top + 10)])
            column.paint(canvas, at, top)
            if given or not column.ends:
                # What gives a value leaves the lane wherever it stands.
                begin = top + (tall if column.ends else column.height - 10)
                canvas.arrow([(middle, begin), (middle, top + tall + pad)])
            at += column.width + 14
        canvas.bar(x, y + height - 6, width, lanes.kind)

    return Figure(width, height, width / 2, ends=False, paint=paint, framed=True)


def _lane(way: Way) -> Figure:
    figures = [_head(way.label, "lane"), *(_figure(node) for node in way.flow)]
    inner = _stacked(figures, ends=leaves(way.flow))
    return Figure(
        inner.width + 24,
        inner.height + 20,
        inner.axis + 12,
        inner.ends,
        lambda canvas, x, y: inner.paint(canvas, x + 12, y + 10),
    )


def _guard(guard: Guard) -> Figure:
    """Return a framed part, and to its right what happens after each error that is caught."""
    body = _framed(sequence(guard.flow), "try", "try")
    catches = []
    for way in guard.catches:
        figures = [_head(way.label, "catch"), *(_figure(node) for node in way.flow)]
        catches.append(_stacked(figures, ends=leaves(way.flow)))
    lefts = []
    at = body.width + ASIDE + 10
    for one in catches:
        lefts.append(at)
        at += one.width + ASIDE
    drop = 44.0
    ends = body.ends and all(one.ends for one in catches)
    tallest = max([body.height, *(drop + one.height for one in catches)])
    height = tallest + (0 if ends else 18)

    def paint(canvas: Canvas, x: float, y: float) -> None:
        body.paint(canvas, x, y)
        middle = x + body.axis
        if not body.ends:
            canvas.line([(middle, y + body.height), (middle, y + height)])
        for one, left in zip(catches, lefts, strict=True):
            centre = x + left + one.axis
            canvas.arrow([(x + body.width, y + 20), (centre, y + 20), (centre, y + drop)], "error")
            one.paint(canvas, x + left, y + drop)
            if not one.ends:
                under = y + height - 8
                canvas.line([(centre, y + drop + one.height), (centre, under), (middle, under)])
                canvas.dot(middle, under)

    return Figure(at - ASIDE, height, body.axis, ends, paint, framed=True)
