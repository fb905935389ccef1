"""Histories of real stores, and whether they are linearizable, from two other checkers' tests.

porcupine: logs of Jepsen against etcd, and key-value histories; ``verdicts.json`` names the answer.
There a compare-and-set that failed has seen another value. knossos: registers in EDN; the folder is
the answer. There a failed operation did not happen, and a read of nil has seen nothing.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from raftoral.sim.linearizability import History, Verdict, check, growing_text, register
from tests.corpora.tally import Tally

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from raftoral.sim.linearizability import Finding

_VERDICTS = {True: Verdict.YES.value, False: Verdict.NO.value}


def check_porcupine(root: Path) -> Tally:
    """Check every history that has a verdict."""
    tally = Tally("porcupine", unit=" verdicts")
    folder = root / "linearizability" / "porcupine"
    if not folder.is_dir():
        return tally
    verdicts = json.loads((folder / "verdicts.json").read_text(encoding="utf-8"))["linearizable"]
    for path in sorted(folder.glob("*/*")):
        if path.name in verdicts:
            text = path.read_text(encoding="utf-8")
            found = check_log(text) if path.suffix == ".log" else check_texts(text)
            tally.compare(path.name, [found.verdict.value], [_VERDICTS[verdicts[path.name]]])
    return tally


def check_knossos(root: Path) -> Tally:
    """Check every history; those under ``good`` are linearizable."""
    tally = Tally("knossos", unit=" verdicts")
    for path in sorted((root / "linearizability" / "knossos").rglob("*.edn")):
        found = check_edn(path.read_text(encoding="utf-8"))
        tally.compare(path.name, [found.verdict.value], [_VERDICTS[path.parent.name == "good"]])
    return tally


# ------------------------------------------------------------------ porcupine
_LOG_LINE = re.compile(r"INFO\s+jepsen\.util - (\d+)\s+:(\w+)\s+:(\w+)\s+(.*\S)")


def check_log(text: str) -> Finding:
    """Check a log of Jepsen against etcd: one register that begins with nothing."""
    history = History()
    for process, kind, name, value in _LOG_LINE.findall(text):
        match kind:
            case "invoke":
                arguments = () if name == "read" else _numbers(value)
                history.begin(process, None, (name, *arguments))
            case "ok" if name == "read":
                history.end(process, None if value == "nil" else int(value))
            case "ok":
                history.end(process, name == "cas" or None)
            case "fail" if name == "cas":
                history.end(process, False)
            case "fail":
                history.withdraw(process)
            case _:
                history.crash(process)
    return check(history.operations(), register())


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"-?\d+", text))


def check_texts(text: str) -> Finding:
    """Check a history of puts, appends and gets."""
    history = History()
    for event in map(_one, text.splitlines()):
        process, name, value = event["process"], event["f"], event["value"]
        if event["type"] == "invoke":
            history.begin(process, event["key"], (name,) if name == "get" else (name, value))
        else:
            history.end(process, value if name == "get" else None)
    return check(history.operations(), growing_text())


# ------------------------------------------------------------------ knossos
def check_edn(text: str) -> Finding:
    """Check a history of a register that begins with 0."""
    history = History()
    for event in _one(text):
        process, name, value = event["process"], event["f"], event["value"]
        match event["type"]:
            case "invoke":
                arguments = value if name == "cas" else [value] if name == "write" else []
                history.begin(process, None, (name, *arguments))
            case "ok" if name == "read" and value is None:
                history.withdraw(process)
            case "ok":
                history.end(process, {"read": value, "cas": True}.get(name))
            case "fail":
                history.withdraw(process)
            case _:
                history.crash(process)
    return check(history.operations(), register(0))


# ------------------------------------------------------------------ EDN
_TOKEN = re.compile(r';.*|"((?:[^"\\]|\\.)*)"|([\[\]{}()])|([^\s,;"\[\]{}()]+)')
_WORDS = {"nil": None, "true": True, "false": False}
_CLOSING = frozenset("])}")


def _one(text: str) -> Any:
    """Return the first value of an EDN text; keywords are their names."""
    return next(_values(_TOKEN.finditer(text)))


def _values(tokens: Iterator[re.Match[str]]) -> Iterator[Any]:
    for token in tokens:
        string, bracket, word = token.groups()
        if string is not None:
            yield string
        elif word is not None:
            yield _WORDS[word] if word in _WORDS else _atom(word)
        elif bracket in _CLOSING:
            return
        elif bracket is not None:
            items = list(_values(tokens))
            yield dict(zip(items[::2], items[1::2], strict=True)) if bracket == "{" else items


def _atom(word: str) -> int | str:
    return int(word) if word.lstrip("-").isdigit() else word.removeprefix(":")
