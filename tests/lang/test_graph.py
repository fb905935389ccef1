"""Pictures of workflows: everything is in them, nothing covers anything, every line leads somewhere."""

from __future__ import annotations

import re
from itertools import combinations
from xml.etree import ElementTree as ET

import pytest

from raftoral._assets import asset
from raftoral.errors import UsageError
from raftoral.lang import ast
from raftoral.lang.diagnostics import Diagnostics
from raftoral.lang.graph.flow import Choice, End, Flow, Frame, Guard, Lanes, Node, Step, flow_of
from raftoral.lang.graph.mermaid import mermaid
from raftoral.lang.graph.svg import svg
from raftoral.lang.parse import parse
from raftoral.lang.read import read
from raftoral.lang.source import Source
from tests.lang.test_format import CORPUS

EVERYTHING = """
activity a.b(x: int) -> int timeout 1s
activity a.c(x: int) timeout 1s
workflow child version 1 (x: int) -> int { return x }
workflow everything version 1 (x: int, words: list<string>) -> int {
  signal go(by: string)
  update change(x: int) -> int
  query state -> int = cell
  checkpoint cell = (x + 1) * 2
  var local = 0
  local = (cell - 1) // 2
  cell = 3
  saga {
    compute one = a.b(
      x,  # a comment
      )
      retry 3 backoff 1s..2s
      timeout 5s
      compensate a.c(one) retry 2
    call two = child version 1 (x: one)
    start three = child version 1 (x: two)
    if two > 3 { undo }
  }
  callback answer: int timeout 1h
  await answer as reply
  await go as gone timeout 1d else { log "nobody" }
  if x == 1 { sleep 1s } else if x == 2 { sleep until self.started } else { log "no" }
  if x == 1 { log "1" } else if x == 2 { log "2" } else if x == 3 { log "3" } else { log "4" }
  match x { case 1 | 2 { log "few" } case n if n > 9 { log "many" } case _ { log "some" } }
  for i, word in words by word parallel limit 3 collect made { give word }
  for word in words { if word == "stop" { break } continue }
  while local < 3 max 9 { local = local + 1 }
  parallel limit 2 as both { branch left { give 1 } branch right { log "right" } }
  race as first { on go as g { log g.by } after 2d { log "late" } branch side { give 2 } }
  try { fail "no" } catch Timeout, Failed as e { log e.message } catch { log "other" }
    finally { log "done" }
  try { log "tried" } finally { log "always" }
  require x > 0 else "x is {x}"
  if x > 100 { restart with (x: 1, words: words) }
  return cell
}
"""


def workflows() -> dict[str, tuple[ast.WorkflowDef, Source]]:
    """Return every workflow of the corpus, and one that has every statement."""
    found = {}
    for name, text in {**CORPUS, "everything": EVERYTHING}.items():
        source = Source(f"{name}.rwf", text).clean()
        tree = parse(source, Diagnostics())
        for one in tree.items if tree else ():
            if isinstance(one, ast.WorkflowDef) and one.block:
                found[f"{name} {one.name.text} {one.version}"] = (one, source)
    return found


WORKFLOWS = workflows()


def nodes(flow: Flow) -> list[Node]:
    """Return every node, those inside others too."""
    found: list[Node] = []
    for one in flow:
        found.append(one)
        match one:
            case Choice(_, ways) | Lanes(_, _, ways):
                found += [n for way in ways for n in nodes(way.flow)]
            case Frame(_, _, inner):
                found += nodes(inner)
            case Guard(inner, catches):
                found += nodes(inner) + [n for way in catches for n in nodes(way.flow)]
            case Step() | End():
                pass
    return found


def test_every_statement_is_drawn() -> None:
    """The workflow with every statement becomes a node of each kind, in the words of its source."""
    one, source = WORKFLOWS["everything everything 1"]
    found = nodes(flow_of(one, source))
    kinds = {node.kind for node in found if not isinstance(node, Choice | Guard)}
    assert kinds == {
        "await", "break", "call", "callback", "checkpoint", "compute", "continue", "fail", "fan",
        "finally", "give", "let", "log", "loop", "parallel", "race", "restart", "return", "saga",
        "sleep", "start", "undo",
    }  # fmt: skip
    texts = {node.text: node for node in found if isinstance(node, Step)}
    step = texts["one = a.b(x)"]
    assert step.clauses == ("retry 3 backoff 1s..2s", "timeout 5s")
    assert step.undo == "a.c"
    assert texts["cell = (x + 1) * 2"].kind == "checkpoint"
    assert texts["cell = 3"].kind == "checkpoint"
    assert texts["local = (cell - 1) // 2"].kind == "let"


@pytest.mark.parametrize("name", WORKFLOWS)
def test_nothing_covers_anything(name: str) -> None:
    """The boxes of a picture lie on the paper, and none over another."""
    picture = ET.fromstring(svg(*WORKFLOWS[name]))
    width, height = float(picture.get("width", "0")), float(picture.get("height", "0"))
    boxes = []
    for shape in picture.iter("{http://www.w3.org/2000/svg}rect"):
        if not {"box", "pill"} & set(shape.get("class", "").split()):
            continue
        x, y, w, h = (float(shape.get(key, "0")) for key in ("x", "y", "width", "height"))
        assert x >= 0
        assert y >= 0
        assert x + w <= width + 0.5
        assert y + h <= height + 0.5
        boxes.append((x, y, x + w, y + h))
    assert boxes
    for one, other in combinations(boxes, 2):
        apart = one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]
        assert apart, (one, other)


@pytest.mark.parametrize("name", WORKFLOWS)
def test_every_node_has_its_whole_text_as_a_tooltip(name: str) -> None:
    """What is cut off in a box can be read by pointing at it."""
    one, source = WORKFLOWS[name]
    picture = ET.fromstring(svg(one, source))
    hints = [title.text or "" for title in picture.iter("{http://www.w3.org/2000/svg}title")]
    for node in nodes(flow_of(one, source)):
        if isinstance(node, Step | End | Choice):
            assert any(hint.endswith(node.text) for hint in hints)


@pytest.mark.parametrize("name", WORKFLOWS)
def test_every_line_of_a_chart_leads_from_a_node_to_a_node(name: str) -> None:
    """In the Mermaid text every node is declared once, and all but the first are reached.

    In a program with mistakes a statement may be there that nothing leads to.
    """
    text = mermaid(*WORKFLOWS[name])
    declared = re.findall(r"^ *(?:subgraph )?(n\d+)[\[({]", text, re.MULTILINE)
    assert len(declared) == len(set(declared))
    ends = re.findall(r'^ *(n\d+) -\.?->(?:\|"[^"|]*"\|)? (n\d+)$', text, re.MULTILINE)
    frames = set(re.findall(r"subgraph (n\d+)", text))
    assert {name for line in ends for name in line} <= set(declared)
    reached = {to for _, to in ends}
    if not read(WORKFLOWS[name][1]).diagnostics.has_errors:
        assert set(declared) - reached - frames == {"n1"}, text
    for line in text.splitlines():
        assert '"' not in re.sub(r'"[^"]*"', "", line), line


def test_a_text_cannot_leave_its_label() -> None:
    """Quotes, tags and braces of a program are shown and never mean anything to a painter."""
    text = 'workflow w version 1 (x: int) { log "</title><script>{x}</script> #1 | ]" return x }'
    source = Source("x.rwf", text)
    tree = parse(source, Diagnostics())
    assert tree is not None
    (one,) = tree.items
    assert isinstance(one, ast.WorkflowDef)
    assert "<script>" not in svg(one, source)
    assert "<script>" not in mermaid(one, source)
    ET.fromstring(svg(one, source))


def test_what_is_too_deep_is_refused() -> None:
    """Blocks that no checker would pass are not drawn."""
    text = "workflow w version 1 () {" + " if true {" * 40 + " log text(1)" + " }" * 41
    source = Source("x.rwf", text)
    tree = parse(source, Diagnostics())
    assert tree is not None
    (one,) = tree.items
    assert isinstance(one, ast.WorkflowDef)
    with pytest.raises(UsageError, match="deeper than 32"):
        svg(one, source)


def test_the_picture_of_the_reference_is_that_of_the_workflow(rewrite: bool) -> None:
    """The picture beside the reference is what `raftoral graph` draws of workflows/order.rwf."""
    source = Source("order.rwf", (asset("workflows") / "order.rwf").read_text()).clean()
    tree = parse(source, Diagnostics())
    assert tree is not None
    one = next(item for item in tree.items if isinstance(item, ast.WorkflowDef))
    path = asset("grammar") / "order.svg"
    if rewrite:
        path.write_text(svg(one, source))
    assert path.read_text() == svg(one, source)


def test_the_picture_of_the_examples_is_that_of_its_file() -> None:
    """The picture in the list of workflows is what `raftoral graph` draws of the file beside it."""
    (found,) = [each for name, each in WORKFLOWS.items() if "patterns.deferred_choice" in name]
    page = (asset("workflows") / "README.md").read_text()
    assert f"```mermaid\n{mermaid(*found)}```\n" in page
