"""A real session with `raftoral lsp`: its own process, its own pipes, the bytes of the protocol."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from raftoral._assets import asset

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ORDER = (asset("workflows") / "order.rwf").read_text()
URI = "file:///home/ann/order.rwf"


class Editor:
    """A client of the protocol: sends requests, reads answers, keeps what it is told meanwhile."""

    def __init__(self, cache: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "raftoral", "lsp"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "XDG_CACHE_HOME": str(cache)},
        )
        self._count = 0
        self._version = 0
        self.told: list[dict[str, Any]] = []
        self.legend: dict[str, Any] = {}

    def _send(self, message: dict[str, Any]) -> None:
        body = json.dumps({"jsonrpc": "2.0", **message}).encode()
        assert self._process.stdin is not None
        self._process.stdin.write(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
        self._process.stdin.flush()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        length = 0
        while line := self._process.stdout.readline().strip():
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        assert length, "the server has gone"
        found: dict[str, Any] = json.loads(self._process.stdout.read(length))
        return found

    def tell(self, method: str, params: Any) -> None:
        """Send a notification."""
        self._send({"method": method, "params": params})

    def answer(self, method: str, params: Any) -> dict[str, Any]:
        """Send a request; return the whole answer."""
        self._count += 1
        self._send({"id": self._count, "method": method, "params": params})
        while True:
            message = self._read()
            if message.get("id") == self._count and "method" not in message:
                return message
            self.told.append(message)

    def ask(self, method: str, **params: Any) -> Any:
        """Send a request about the open text; return its result."""
        return self.answer(method, {"textDocument": {"uri": URI}, **params})["result"]

    def show(self, text: str) -> list[dict[str, Any]]:
        """Open a text or change it; return the reports that come."""
        self._version += 1
        document = {"uri": URI, "version": self._version}
        if self._version == 1:
            whole = {**document, "languageId": "rwf", "text": text}
            self.tell("textDocument/didOpen", {"textDocument": whole})
        else:
            changes = [{"text": text}]
            self.tell(
                "textDocument/didChange", {"textDocument": document, "contentChanges": changes}
            )
        self.told.clear()
        while True:
            message = self._read()
            if message.get("method") == "textDocument/publishDiagnostics":
                found: list[dict[str, Any]] = message["params"]["diagnostics"]
                return found

    def close(self) -> int:
        """End the session as the protocol says; return the exit code."""
        self.answer("shutdown", None)
        self.tell("exit", None)
        assert self._process.stdin is not None
        self._process.stdin.close()
        code = self._process.wait(20)
        assert self._process.stdout is not None
        self._process.stdout.close()
        return code


def at(text: str, words: str, skip: int = 0) -> dict[str, int]:
    """Return the position of the first occurrence of some words."""
    start = text.index(words) + skip
    line = text.count("\n", 0, start)
    return {"line": line, "character": start - (text.rfind("\n", 0, start) + 1)}


def place(text: str, words: str) -> dict[str, Any]:
    """Return the range of the first occurrence of some words."""
    return {"start": at(text, words), "end": at(text, words, len(words))}


@pytest.fixture(scope="module")
def editor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Editor]:
    """One session for all tests; it must end well."""
    editor = Editor(tmp_path_factory.mktemp("cache"))
    params = {"processId": None, "rootUri": None, "capabilities": {}}
    found = editor.answer("initialize", params)["result"]["capabilities"]
    assert found["hoverProvider"]
    assert found["renameProvider"]
    editor.legend = found["semanticTokensProvider"]["legend"]
    editor.tell("initialized", {})
    assert editor.show(ORDER) == []
    yield editor
    assert editor.close() == 0


@pytest.fixture(autouse=True)
def _whole(editor: Editor) -> None:
    """Each test begins with the order workflow, free of mistakes."""
    assert editor.show(ORDER) == []


def test_mistakes_come_as_they_are_typed(editor: Editor) -> None:
    """A report has its code, its place and its fix, and goes when the text is mended."""
    text = ORDER.replace("retry 5 backoff 200ms..10s\n", "retry 5 backof 200ms..10s\n", 1)
    (report,) = editor.show(text)
    assert report["code"] == "RWF0003"
    assert report["range"] == place(text, "backof ") | {"end": at(text, "backof ", 6)}
    (action,) = editor.ask(
        "textDocument/codeAction", range=report["range"], context={"diagnostics": [report]}
    )
    assert action["title"] == "write `backoff`"
    (edit,) = action["edit"]["changes"][URI]
    assert (edit["range"], edit["newText"]) == (report["range"], "backoff")
    assert editor.show(ORDER) == []


def test_hover_tells_type_and_event(editor: Editor) -> None:
    """A result has the type that its activity declares, and says what it writes into the history."""
    found = editor.ask("textDocument/hover", position=at(ORDER, "payment, tracking"))
    assert "result payment: string" in found["contents"]["value"]
    assert "`Done`" in found["contents"]["value"]
    found = editor.ask("textDocument/hover", position=at(ORDER, "payments.charge(order.id", 3))
    assert "activity payments.charge(order: string" in found["contents"]["value"]
    assert editor.ask("textDocument/hover", position=at(ORDER, "> 0.00EUR")) is None


def test_definition_and_references(editor: Editor) -> None:
    """A use leads to its declaration, and the declaration to its uses."""
    found = editor.ask("textDocument/definition", position=at(ORDER, "total(order)\n"))
    assert found["range"] == place(ORDER, "total")
    uses = editor.ask(
        "textDocument/references",
        position=at(ORDER, "reservation = "),
        context={"includeDeclaration": True},
    )
    assert [use["range"]["start"] for use in uses] == [
        at(ORDER, "reservation = "), at(ORDER, "release(reservation) retry", 8)
    ]  # fmt: skip


def test_rename_changes_every_use_and_nothing_else(editor: Editor) -> None:
    """All uses of a value are renamed, and not the field or the argument of the same name."""
    found = editor.ask("textDocument/rename", position=at(ORDER, "payment = "), newName="receipt")
    edits = found["changes"][URI]
    lines = ORDER.splitlines()
    for edit in reversed(edits):
        where = edit["range"]["start"]
        line = lines[where["line"]]
        end = edit["range"]["end"]["character"]
        lines[where["line"]] = line[: where["character"]] + edit["newText"] + line[end:]
    text = "\n".join(lines) + "\n"
    assert len(edits) == 2
    assert "payment: receipt, tracking" in text
    assert editor.show(text) == []


def test_a_name_that_does_not_work_is_refused(editor: Editor) -> None:
    """Renaming to a taken name or to a word of the language is an error that says why."""
    for name in ("amount", "match", "Not A Name"):
        answer = editor.answer(
            "textDocument/rename",
            {"textDocument": {"uri": URI}, "position": at(ORDER, "payment = "), "newName": name},
        )
        assert "cannot be the name" in answer["error"]["message"]


def test_completion_knows_the_place(editor: Editor) -> None:
    """A step offers activities, a value its fields, a line the words that may begin a statement."""
    text = ORDER.replace('  status = "reserved"\n', "  compute x = \n", 1)
    editor.show(text)
    found = editor.ask("textDocument/completion", position=at(text, "compute x = ", 12))
    assert {"stock.reserve", "payments.charge"} <= {one["label"] for one in found}
    text = ORDER.replace('  status = "reserved"\n', "  log order.\n", 1)
    editor.show(text)
    found = editor.ask("textDocument/completion", position=at(text, "log order.", 10))
    assert [one["label"] for one in found] == ["id", "card", "items"]
    text = ORDER.replace('  status = "reserved"\n', "  \n", 1)
    editor.show(text)
    found = editor.ask("textDocument/completion", position=at(text, "10s\n  \n", 6))
    assert {"compute", "sleep", "return"} <= {one["label"] for one in found}
    assert "workflow" not in {one["label"] for one in found}


def test_formatting_and_outline(editor: Editor) -> None:
    """The layout comes as changes of lines; the outline has each definition."""
    text = ORDER.replace("  let amount", "      let    amount", 1)
    editor.show(text)
    (edit,) = editor.ask("textDocument/formatting", options={"tabSize": 2, "insertSpaces": True})
    assert edit["newText"] == "  let amount = total(order)\n"
    names = [one["name"] for one in editor.ask("textDocument/documentSymbol")]
    assert names[:3] == ["Item", "Order", "Receipt"]
    assert "order" in names


def test_columns_count_as_the_protocol_does(editor: Editor) -> None:
    """A character beyond the first plane counts as two before a mistake on its line."""
    text = 'workflow w version 1 () {\n  log "\U0001f600" + nothing\n}\n'
    (report,) = editor.show(text)
    assert report["range"]["start"] == {"line": 1, "character": 13}


def test_nothing_else_imports_it() -> None:
    """The command line does not load pygls for any other command."""
    code = "import sys\nfrom raftoral.cli import main\nmain(['explain'])\nprint('pygls' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("False\n")


def test_without_pygls_one_message_says_what_to_install() -> None:
    """The extra is optional, and its absence is no traceback."""
    code = (
        "import sys\nsys.modules['pygls'] = sys.modules['lsprotocol'] = None\n"
        "from raftoral.cli import main\nsys.exit(main(['lsp']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == (
        "raftoral: the language server needs pygls: pip install 'raftoral[lsp]'\n"
    )


def shown(text: str, data: list[int], legend: dict[str, Any]) -> list[tuple[str, str, list[str]]]:
    """Return painted words with their kinds and marks, from the numbers of the protocol."""
    lines, line, column, found = text.split("\n"), 0, 0, []
    for down, right, length, kind, bits in zip(*[iter(data)] * 5, strict=True):
        line, column = line + down, right if down else column + right
        units = lines[line].encode("utf-16-le")
        word = units[2 * column : 2 * (column + length)].decode("utf-16-le")
        marks = [one for n, one in enumerate(legend["tokenModifiers"]) if bits >> n & 1]
        found.append((word, legend["tokenTypes"][kind], marks))
    return found


PAINTED = '''\
## Sums it up.
record Order { id: string }
activity pay.charge(order: string) -> string timeout 1h
workflow w version 1 (order: Order) -> string {
  checkpoint status = "\U0001f600 {order.id}"  compute paid = pay.charge(order.id)
  status = """two
lines"""
  return paid
}
'''


def test_words_are_painted_by_what_they_mean(editor: Editor) -> None:
    """Names by what they stand for, their declarations and what makes events marked, line by line."""
    editor.show(PAINTED)
    found = shown(PAINTED, editor.ask("textDocument/semanticTokens/full")["data"], editor.legend)
    assert found[:3] == [
        ("## Sums it up.", "comment", ["documentation"]),
        ("record", "keyword", []),
        ("Order", "struct", ["declaration"]),
    ]
    assert ("pay.charge", "function", ["declaration", "async"]) in found
    assert ("pay.charge", "function", ["async"]) in found
    assert ("compute", "keyword", ["async"]) in found
    assert ("status", "property", ["declaration", "async"]) in found
    assert ("order", "parameter", []) in found
    assert ("two", "string", []) in found
    assert ("lines", "string", []) in found
    assert found[-1] == ("paid", "variable", ["readonly"])


def test_a_broken_text_is_painted_by_its_words(editor: Editor) -> None:
    """While it does not parse nobody knows what names stand for; words, numbers and texts stay."""
    text = 'workflow w { sleep 1h log "x"\n'
    editor.show(text)
    found = shown(text, editor.ask("textDocument/semanticTokens/full")["data"], editor.legend)
    assert found == [
        ("workflow", "keyword", []),
        ("w", "variable", []),
        ("sleep", "keyword", ["async"]),
        ("1h", "number", []),
        ("log", "keyword", ["async"]),
        ('"', "string", []),
        ("x", "string", []),
        ('"', "string", []),
    ]


CALLS = """\
enum Status { Open Lost(why: string, by: string?) }
record Item { sku: string  qty: int = 1 }
## What it costs.
fn price(item: Item, count: int = 1) -> int { return item.qty * count }
activity mail.send(to: string, text: string) timeout 5s
workflow w version 1 (a: int) -> int { return a }
workflow w version 2 (a: int, b: string) -> int {
  signal yes(by: string, ok: bool)
  await yes as one
  return 0
}
test "t" for w version 2 {
  given (a: 1, b: "x")
  at 1h signal yes(by: "x", ok: true)
}
"""


@pytest.mark.parametrize(
    ("written", "label", "active"),
    [
        ("compute mail.send(", "activity mail.send(to: string, text: string) timeout 5s", 0),
        (
            'compute mail.send("a, (b", ',
            "activity mail.send(to: string, text: string) timeout 5s",
            1,
        ),
        ("let x = price(Item(", "record Item { sku: string qty: int = 1 }", 0),
        ('let x = price(Item("a"), ', "fn price(item: Item, count: int = 1) -> int", 1),
        ("let x = price(count: [1, 2", "fn price(item: Item, count: int = 1) -> int", 1),
        ("let x = Status.Lost(why: 1, by:", "Status.Lost(why: string, by: string?)", 1),
        ("call x = w version 1 (", "workflow w version 1 (a: int) -> int", 0),
        ("restart with (b: ", "workflow w version 2 (a: int, b: string) -> int", 1),
        ("let x = (1 + 2) * (", None, 0),
        ("compute mail.send(1, 2) ", None, 0),
    ],
)
def test_a_call_that_is_written_shows_its_parameters(
    editor: Editor, written: str, label: str | None, active: int
) -> None:
    """The head of what is called and the parameter that comes; the text need not parse."""
    assert [one for one in editor.show(CALLS) if one["severity"] == 1] == []
    text = CALLS.replace("  return 0\n", f"  {written}\n")
    editor.show(text)
    found = editor.ask("textDocument/signatureHelp", position=at(text, written, len(written)))
    if label is None:
        assert found is None
        return
    (one,) = found["signatures"]
    assert one["label"] == label
    assert one["activeParameter"] == active
    assert all(each["label"] in label for each in one["parameters"])


def test_tests_show_what_they_give(editor: Editor) -> None:
    """`given` has the inputs of the workflow, a signal its fields; a definition shows nothing."""
    editor.show(CALLS)
    for words, count in (("given (a: 1, ", 2), ("signal yes(by: ", 2), ("fn price(", 0)):
        skip = len(words)
        where = at(CALLS, f"at 1h {words}", skip + 6) if "yes" in words else at(CALLS, words, skip)
        found = editor.ask("textDocument/signatureHelp", position=where)
        assert (len(found["signatures"][0]["parameters"]) if found else 0) == count
    every = editor.ask("textDocument/signatureHelp", position=at(CALLS, "given (", 7))
    assert [one["label"][:20] for one in every["signatures"]] == ["workflow w version 2"]
