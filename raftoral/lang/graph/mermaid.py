"""Draws a workflow as Mermaid text, for pages that paint such text themselves."""

from __future__ import annotations

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
    flow_of,
    heading,
)

if TYPE_CHECKING:
    from raftoral.lang import ast
    from raftoral.lang.source import Source

WORDS_MAX: Final = 60

_CLASSES: Final = {
    "compute": "stroke:#1f6feb",
    "checkpoint": "stroke:#8250df",
    "wait": "stroke:#9a6700",
    "child": "stroke:#0f7b83",
    "quiet": "stroke:#818b98,stroke-dasharray:2 3",
    "good": "stroke:#1a7f37,stroke-width:2px",
    "bad": "stroke:#cf222e,stroke-width:2px",
}
_CLASS_OF: Final = {
    "compute": "compute", "checkpoint": "checkpoint", "await": "wait", "sleep": "wait",
    "callback": "wait", "call": "child", "start": "child", "log": "quiet", "let": "quiet",
    "undo": "bad", "return": "good", "give": "good", "fail": "bad", "restart": "checkpoint",
    "break": "quiet", "continue": "quiet",
}  # fmt: skip

_Exit: TypeAlias = "tuple[str, str]"
"""A node that something follows, and the label of the line to it."""


def mermaid(workflow: ast.WorkflowDef, source: Source) -> str:
    """Return the text of a flowchart of one workflow."""
    name, inputs = heading(workflow, source)
    writer = _Writer()
    first = writer.node(f'(["<b>workflow {_quoted(name)}</b><br>{_quoted(inputs)}"])')
    exits = writer.flow(flow_of(workflow, source), [(first, "")])
    if exits:
        writer.join(exits, writer.node('(["end"])', "good"))
    lines = [f"  classDef {one} {style}" for one, style in _CLASSES.items()]
    return "\n".join(["flowchart TD", *writer.lines, *lines, ""])


def _quoted(text: str) -> str:
    """Return a text as it may stand in a label."""
    short = text if len(text) <= WORDS_MAX else f"{text[: WORDS_MAX - 1]}…"
    for plain, written in (
        ("#", "#35;"),
        ("|", "#124;"),
        ('"', "#quot;"),
        ("<", "#lt;"),
        (">", "#gt;"),
    ):
        short = short.replace(plain, written)
    return short.replace("`", "#96;")


class _Writer:
    """Writes nodes and lines; every node is declared before a line leads to it."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._count = 0
        self._depth = 1
        self._given: list[_Exit] = []
        self._try = ""

    def _line(self, text: str) -> None:
        self.lines.append("  " * self._depth + text)

    def node(self, shape: str, style: str = "") -> str:
        """Write one node; ``shape`` is its label in its brackets."""
        self._count += 1
        name = f"n{self._count}"
        self._line(f"{name}{shape}" + (f":::{style}" if style else ""))
        return name

    def join(self, exits: list[_Exit], to: str, arrow: str = "-->") -> None:
        """Write the lines that lead to a node."""
        for name, label in exits:
            words = f'|"{_quoted(label)}"|' if label else ""
            self._line(f"{name} {arrow}{words} {to}")

    def flow(self, flow: Flow, exits: list[_Exit]) -> list[_Exit]:
        """Write a flow that follows ``exits``; return what leaves it at its end."""
        for one in flow:
            exits = self._one(one, exits)
        return exits

    def _whole(self, flow: Flow, head: str) -> list[_Exit]:
        """Write a branch; what gives a value leaves it too."""
        before, self._given = self._given, []
        exits = self.flow(flow, [(head, "")]) + self._given
        self._given = before
        return exits

    def _one(self, node: Node, exits: list[_Exit]) -> list[_Exit]:
        match node:
            case Step(kind, text, clauses, undo):
                word = "" if kind == "let" else f"<b>{kind}</b> "
                rest = [*clauses, *([f"undone by {undo}"] if undo else [])]
                words = "<br>".join([word + _quoted(text), *map(_quoted, rest)])
                name = self.node(f'["{words}"]', _CLASS_OF[kind])
                self.join(exits, name)
                return [(name, "")]
            case End(kind, text):
                words = f"<b>{kind}</b> {_quoted(text)}".strip()
                name = self.node(f'(["{words}"])', _CLASS_OF[kind])
                self.join(exits, name)
                if kind == "give":
                    self._given.append((name, ""))
                return []
            case Choice(text, ways, waits):
                words = f'["<b>await</b> {_quoted(text)}"]' if waits else f'{{"{_quoted(text)}"}}'
                name = self.node(words, "wait" if waits else "")
                self.join(exits, name)
                return [out for way in ways for out in self.flow(way.flow, [(name, way.label)])]
            case Frame(kind, text, flow):
                return self._frame(kind, text, flow, exits)
            case Lanes(kind, text, lanes):
                return self._lanes(f"{kind}: {text}", lanes, exits)
            case Guard(flow, catches):
                return self._guard(flow, catches, exits)
            case _:
                assert_never(node)

    def _begin(self, title: str) -> str:
        self._count += 1
        name = f"n{self._count}"
        self._line(f'subgraph {name}["{_quoted(title)}"]')
        self._depth += 1
        return name

    def _finish(self) -> None:
        self._depth -= 1
        self._line("end")

    def _frame(self, kind: str, text: str, flow: Flow, exits: list[_Exit]) -> list[_Exit]:
        self._begin(text)
        head = self.node('((" "))')
        if kind == "fan":
            # Turns end where they give a value; a node of its own says that all have ended.
            inner = self._whole(flow, head)
            last = self.node('((" "))')
            self.join(inner, last)
            inner = [(last, "")]
        else:
            inner = self.flow(flow, [(head, "")])
        if kind == "loop":
            self.join(inner, head, "-.->")
        self._finish()
        self.join(exits, head)
        if kind == "finally" and not exits:
            self.join([(self._try, "")], head, "-.->")
        if kind == "loop":
            return [(head, "done")]
        return inner

    def _lanes(self, title: str, lanes: tuple[Way, ...], exits: list[_Exit]) -> list[_Exit]:
        self._begin(title)
        fork = self.node('((" "))')
        inner: list[_Exit] = []
        for way in lanes:
            self._begin(way.label)
            head = self.node('((" "))')
            inner += self._whole(way.flow, head)
            self._finish()
            self.join([(fork, "")], head)
        together = self.node('((" "))')
        self.join(inner, together)
        self._finish()
        self.join(exits, fork)
        return [(together, "")]

    def _guard(self, flow: Flow, catches: tuple[Way, ...], exits: list[_Exit]) -> list[_Exit]:
        frame = self._begin("try")
        head = self.node('((" "))')
        found = self.flow(flow, [(head, "")])
        self._finish()
        self.join(exits, head)
        for way in catches:
            name = self.node(f'["{_quoted(way.label)}"]', "bad")
            self.join([(frame, "")], name, "-.->")
            found += self.flow(way.flow, [(name, "")])
        self._try = frame
        return found
