"""Paints a workflow as one SVG file that needs nothing else: no fonts, no scripts, no styles.

Light and dark follow the reader's setting. Every shape has its whole text as a tooltip.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from xml.sax.saxutils import escape, quoteattr

from raftoral.lang.graph.figures import LETTER, SMALL, Figure, sequence, short
from raftoral.lang.graph.flow import flow_of, heading, leaves

if TYPE_CHECKING:
    from collections.abc import Sequence

    from raftoral.lang import ast
    from raftoral.lang.source import Source

MARGIN: Final = 24

# Per kind of step: its colour on light and on dark paper.
_COLOURS: Final = {
    "compute": ("#1f6feb", "#6cb0ff"),
    "checkpoint": ("#8250df", "#b88cff"),
    "await": ("#9a6700", "#e3b341"),
    "sleep": ("#9a6700", "#e3b341"),
    "callback": ("#9a6700", "#e3b341"),
    "call": ("#0f7b83", "#56c8d0"),
    "start": ("#0f7b83", "#56c8d0"),
    "log": ("#6e7781", "#9aa4ae"),
    "give": ("#1a7f37", "#57c76f"),
    "undo": ("#bc4c00", "#f0883e"),
    "return": ("#1a7f37", "#57c76f"),
    "fail": ("#cf222e", "#ff7b72"),
    "restart": ("#8250df", "#b88cff"),
    "break": ("#6e7781", "#9aa4ae"),
    "continue": ("#6e7781", "#9aa4ae"),
    "let": ("#afb8c1", "#484f58"),
    "choice": ("#57606a", "#9aa4ae"),
    "loop": ("#57606a", "#9aa4ae"),
    "fan": ("#1f6feb", "#6cb0ff"),
    "parallel": ("#1f6feb", "#6cb0ff"),
    "race": ("#9a6700", "#e3b341"),
    "saga": ("#bc4c00", "#f0883e"),
    "try": ("#cf222e", "#ff7b72"),
    "finally": ("#57606a", "#9aa4ae"),
}

_STYLE: Final = """
.paper{fill:#ffffff}
text{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace;\
font-size:12px;fill:#1f2328;white-space:pre}
.name{font-weight:bold;font-size:14px}
.faint,.small,.label{fill:#59636e}
.small,.small-code,.label,.kicker,.title{font-size:11px}
.kicker,.title{font-weight:bold}
.middle{text-anchor:middle}
.right{text-anchor:end}
.box{fill:#ffffff;stroke:#d1d9e0}
.box.let{fill:none;stroke-dasharray:2 3}
.pill{fill:#ffffff;stroke-width:1.5}
.head{fill:#f6f8fa;stroke:#d1d9e0}
.line{fill:none;stroke:#818b98;stroke-width:1.4;stroke-linejoin:round}
.tip,.dot{fill:#818b98}
.frame{fill:#818b98;fill-opacity:.05;stroke-opacity:.55;stroke-width:1.2}
.frame.loop,.frame.saga{stroke-dasharray:6 4}
.frame.lane{stroke-opacity:.25}
.frame.fan{fill:#fafbfc;fill-opacity:1}
.frame.behind{stroke-opacity:.35}
.title,.label{paint-order:stroke;stroke:#ffffff;stroke-width:5px;stroke-linejoin:round}
.error{stroke:#cf222e;stroke-dasharray:5 4}
.error-tip{fill:#cf222e}
.back{stroke-dasharray:2 3}
@media (prefers-color-scheme:dark){
.paper{fill:#0d1117}
text{fill:#e6edf3}
.faint,.small,.label{fill:#9aa4ae}
.box,.pill{fill:#161b22}
.box{stroke:#3d444d}
.head{fill:#212830;stroke:#3d444d}
.frame.fan{fill:#11161d}
.title,.label{stroke:#0d1117}
.error{stroke:#ff7b72}
.error-tip{fill:#ff7b72}
}
"""


def _colours() -> str:
    light: list[str] = []
    dark: list[str] = []
    for kind, (on_light, on_dark) in _COLOURS.items():
        for rules, colour in ((light, on_light), (dark, on_dark)):
            rules.append(
                f".edge.{kind},.bar.{kind},text.{kind}{{fill:{colour}}}"
                f".pill.{kind},.diamond.{kind},.frame.{kind}{{stroke:{colour}}}"
            )
    lines = ["\n".join(light), "@media (prefers-color-scheme:dark){", "\n".join(dark), "}"]
    return "\n".join(lines)


class Canvas:
    """Collects shapes; frames lie at the bottom, lines over them, everything else on top."""

    def __init__(self) -> None:
        self._frames: list[str] = []
        self._lines: list[str] = []
        self._shapes: list[str] = []

    def svg(self, width: float, height: float, title: str) -> str:
        """Return the file."""
        w, h = f"{width:.0f}", f"{height:.0f}"
        return "\n".join(
            [
                f'<svg xmlns="http://www.w3.org/2000/svg" width="{w}" height="{h}" '
                f'viewBox="0 0 {w} {h}" role="img">',
                f"<title>{escape(title)}</title>",
                f"<style>{escape(_STYLE)}{escape(_colours())}</style>",
                '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
                'markerHeight="7" orient="auto"><path class="tip" d="M0 0L8 4L0 8z"/></marker>'
                '<marker id="error-tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
                'markerHeight="7" orient="auto"><path class="error-tip" d="M0 0L8 4L0 8z"/>'
                "</marker></defs>",
                f'<rect class="paper" width="{w}" height="{h}"/>',
                *self._frames,
                *self._lines,
                *self._shapes,
                "</svg>",
                "",
            ]
        )

    def _shape(self, words: str, hint: str = "") -> None:
        title = f"<title>{escape(hint)}</title>" if hint else ""
        name = words.split(" ", 1)[0]
        self._shapes.append(f"<{words}>{title}</{name}>" if title else f"<{words}/>")

    def text(self, x: float, y: float, words: str, style: str) -> None:
        """Write one line; ``y`` is its base line."""
        classes = quoteattr(style)
        self._shapes.append(f'<text x="{x:.1f}" y="{y:.1f}" class={classes}>{escape(words)}</text>')

    def box(self, x: float, y: float, w: float, h: float, style: str, *, hint: str) -> None:
        """Paint a box with a coloured left edge."""
        kind = style.split()[-1]
        self._shape(f'rect x="{x:.1f}" y="{y:.1f}" width="{w:.1f}" height="{h:.1f}" rx="6" class="box {kind}"', hint)  # fmt: skip
        if kind != "let":
            self._shape(f'rect x="{x:.1f}" y="{y:.1f}" width="6" height="{h:.1f}" rx="3" class="edge {kind}"')  # fmt: skip

    def pill(
        self, x: float, y: float, w: float, h: float, style: str, *, hint: str, radius: float = 25
    ) -> None:
        """Paint a box with round ends."""
        self._shape(f'rect x="{x:.1f}" y="{y:.1f}" width="{w:.1f}" height="{h:.1f}" rx="{min(radius, h / 2):.1f}" class="pill {style}"', hint)  # fmt: skip

    def diamond(self, x: float, y: float, w: float, h: float, *, hint: str) -> None:
        """Paint a diamond."""
        points = [(x, y + h / 2), (x + w / 2, y), (x + w, y + h / 2), (x + w / 2, y + h)]
        at = " ".join(f"{a:.1f},{b:.1f}" for a, b in points)
        self._shape(f'polygon points="{at}" class="box diamond choice"', hint)

    def frame(self, x: float, y: float, w: float, h: float, style: str) -> None:
        """Paint a frame."""
        self._frames.append(f'<rect x="{x:.1f}" y="{y:.1f}" width="{w:.1f}" height="{h:.1f}" rx="8" class="frame {style}"/>')  # fmt: skip

    def bar(self, x: float, y: float, w: float, style: str) -> None:
        """Paint the bar where lanes begin or end."""
        self._shape(f'rect x="{x:.1f}" y="{y:.1f}" width="{w:.1f}" height="6" rx="3" class="bar {style}"')  # fmt: skip

    def dot(self, x: float, y: float) -> None:
        """Paint the place where ways meet."""
        self._shape(f'circle cx="{x:.1f}" cy="{y:.1f}" r="2.6" class="dot"')

    def line(self, points: Sequence[tuple[float, float]], style: str = "", tip: str = "") -> None:
        """Draw a line through points, its corners rounded."""
        self._lines.append(f'<path d="{_path(points)}" class="line {style}"{tip}/>')

    def arrow(self, points: Sequence[tuple[float, float]], style: str = "") -> None:
        """Draw a line with a tip at its end."""
        tip = "error-tip" if style == "error" else "tip"
        self.line(points, style, f' marker-end="url(#{tip})"')


def _path(points: Sequence[tuple[float, float]]) -> str:
    """Return the path through points whose corners are quarters of small circles."""
    words = [f"M{points[0][0]:.1f} {points[0][1]:.1f}"]
    for before, here, after in zip(points, points[1:], points[2:], strict=False):
        a, b = _towards(here, before), _towards(here, after)
        words.append(f"L{a[0]:.1f} {a[1]:.1f}Q{here[0]:.1f} {here[1]:.1f} {b[0]:.1f} {b[1]:.1f}")
    words.append(f"L{points[-1][0]:.1f} {points[-1][1]:.1f}")
    return "".join(words)


def _towards(corner: tuple[float, float], other: tuple[float, float]) -> tuple[float, float]:
    way = (other[0] - corner[0], other[1] - corner[1])
    length = max(abs(way[0]), abs(way[1]), 0.1)
    part = min(7, length / 2) / length
    return corner[0] + way[0] * part, corner[1] + way[1] * part


def svg(workflow: ast.WorkflowDef, source: Source) -> str:
    """Return the picture of one workflow."""
    name, inputs = heading(workflow, source)
    flow = flow_of(workflow, source)
    body = sequence(flow)
    canvas = Canvas()
    top = _start(name, short(inputs, 76))
    last = not leaves(flow)
    axis = max(top.axis, body.axis)
    width = axis + max(top.width - top.axis, body.width - body.axis)
    at = MARGIN + top.height + 26
    top.paint(canvas, MARGIN + axis - top.axis, MARGIN)
    middle = MARGIN + axis
    if body.height:
        canvas.arrow([(middle, MARGIN + top.height), (middle, at)])
    body.paint(canvas, middle - body.axis, at)
    height = at + body.height
    if last:
        canvas.arrow([(middle, height), (middle, height + 26)])
        canvas.pill(middle - 34, height + 26, 68, 28, "end return", hint="the end")
        canvas.text(middle, height + 44.5, "end", "code middle")
        height += 54
    return canvas.svg(width + 2 * MARGIN, height + MARGIN, f"workflow {name}")


def _start(name: str, inputs: str) -> Figure:
    width = max((len(name) + 9) * LETTER * 1.17, len(inputs) * SMALL) + 40

    def paint(canvas: Canvas, x: float, y: float) -> None:
        canvas.pill(x, y, width, 50, "end choice", hint=f"workflow {name} {inputs}")
        canvas.text(x + width / 2, y + 21, f"workflow {name}", "name middle")
        canvas.text(x + width / 2, y + 38, inputs, "small middle")

    return Figure(width, 50, width / 2, ends=False, paint=paint)
