"""The parser's tables as JSON, so that a command need not build them from the grammar's text.

Building takes a fifth of a second, reading some 20 ms. Where the bytes are kept is the caller's
business (`Store`): this module opens no file. Bytes that are damaged, or that another grammar or
another lark made, are worth nothing and said to be so; they are data and never code.
"""

from __future__ import annotations

import json
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias

import lark
from lark import Lark
from lark.grammar import NonTerminal, Rule, RuleOptions, Terminal
from lark.lexer import TerminalDef
from lark.parsers.lalr_analysis import IntParseTable, Reduce, Shift
from lark.parsers.lalr_parser import LALR_Parser
from lark.parsers.lalr_parser import _Parser as Driver

from raftoral.lang.scanning import StateLexer

if TYPE_CHECKING:
    from lark import Transformer

Tables: TypeAlias = "dict[str, Any]"

_FORM: Final = "raftoral parser tables 3"


class Store(Protocol):
    """Where bytes are kept between processes. Both methods do their best and never raise."""

    def read(self, name: str) -> bytes | None:
        """Return what was kept under ``name``, or None."""

    def write(self, name: str, data: bytes) -> None:
        """Keep ``data`` under ``name``; all of it or nothing."""


def tables(grammar: str, starts: list[str], store: Store | None) -> Tables:
    """Return the tables of a grammar, from ``store`` if it has them; kept there otherwise."""
    key = sha256(f"{_FORM}\0{lark.__version__}\0{starts}\0{grammar}".encode()).hexdigest()
    name = f"rwf-{key[:16]}.json"
    kept = None if store is None else store.read(name)
    found = None if kept is None else decode(kept, key)
    if found is not None:
        return found
    built = _built(grammar, starts)
    if store is not None:
        store.write(name, encode(built, key))
    return built


def _built(grammar: str, starts: list[str]) -> Tables:
    """Return the tables of a grammar, each state as one row of numbers: token, action, target."""
    parser = Lark(grammar, parser="lalr", lexer="contextual", start=starts, maybe_placeholders=True)
    data, memo = parser.memo_serialize([TerminalDef, Rule])
    table = data["parser"]["parser"]
    rows = [
        [
            number
            for token, (action, to) in actions.items()
            for number in (token, action, to["@"] if action else to)
        ]
        for actions in table["states"].values()
    ]
    table["states"] = [list(table["states"]), rows]
    table["tokens"] = list(table["tokens"].items())
    return {"data": data, "memo": list(memo.items())}


def encode(built: Tables, key: str) -> bytes:
    """Return two lines of JSON: what the tables belong to and their digest, and the tables."""
    body = json.dumps(built, separators=(",", ":"))
    head = {"key": key, "sha256": sha256(body.encode()).hexdigest()}
    return f"{json.dumps(head)}\n{body}\n".encode()


def decode(data: bytes, key: str) -> Tables | None:
    """Return the tables, or None for bytes that are not what `encode` made for this ``key``."""
    head, _, rest = data.partition(b"\n")
    body = rest.removesuffix(b"\n")
    try:
        if json.loads(head) != {"key": key, "sha256": sha256(body).hexdigest()}:
            return None
    except ValueError:
        return None
    found: Tables = json.loads(body)
    return found


def restore(
    found: Tables, transformer: Transformer[Any, Any] | None, *, keep_all_tokens: bool
) -> Lark:
    """Return a parser with these tables, whose reductions call ``transformer``.

    With ``keep_all_tokens`` every rule keeps its words and signs, as ``!`` in the grammar does.
    """
    memo = _Objects(keep_all_tokens).of(found["memo"])
    blank: Lark = Lark.__new__(Lark)
    made: Lark = blank._load(  # noqa: SLF001 - `Lark.load` itself takes nothing but a pickle
        {"data": found["data"], "memo": memo},
        transformer=transformer,
        _plugins={"LALR_Parser": _Parser, "ContextualLexer": StateLexer},
    )
    return made


class _Objects:
    """Makes the rules and terminals of kept tables: each symbol and each set of options once.

    What is an object already, lark's own reader of such tables takes as it is.
    """

    def __init__(self, keep_all_tokens: bool) -> None:
        self._keep = keep_all_tokens
        self._symbols: dict[tuple[str, bool | None], Terminal | NonTerminal] = {}
        self._options: dict[str, RuleOptions] = {}

    def of(self, memo: list[tuple[int, dict[str, Any]]]) -> dict[int, Any]:
        """Return the objects by their numbers."""
        return {number: self._made(data) for number, data in memo}

    def _made(self, data: dict[str, Any]) -> Rule | TerminalDef:
        if data["__type__"] != "Rule":
            return TerminalDef.deserialize(data, {})
        origin, expansion = self._symbol(data["origin"]), [*map(self._symbol, data["expansion"])]
        return Rule(origin, expansion, data["order"], data["alias"], self._option(data["options"]))

    def _symbol(self, data: dict[str, Any]) -> Any:
        key = data["name"], data.get("filter_out")
        if key not in self._symbols:
            name, hidden = key
            self._symbols[key] = NonTerminal(name) if hidden is None else Terminal(name, hidden)
        return self._symbols[key]

    def _option(self, data: dict[str, Any]) -> RuleOptions:
        key = str(data)
        if key not in self._options:
            self._options[key] = RuleOptions(
                data["keep_all_tokens"] or self._keep,
                data["expand1"],
                data["priority"],
                data["template_source"],
                tuple(data["empty_indices"]),
            )
        return self._options[key]


class _Parser(LALR_Parser):
    """Lark's parser, its table made from rows of numbers in a third of the time."""

    @classmethod
    def deserialize(  # type: ignore[override]  # as lark's own parser has it
        cls, data: Any, memo: Any, callbacks: Any, debug: bool = False
    ) -> Any:
        """Return a parser with the table of ``data``; ``memo`` has the rules by their numbers."""
        tokens = dict(data["tokens"])
        states = {}
        for number, row in zip(*data["states"], strict=True):
            ones = iter(row)
            states[number] = {
                tokens[token]: (Reduce, memo[to]) if action else (Shift, to)
                for token, action, to in zip(ones, ones, ones, strict=True)
            }
        made: Any = cls.__new__(cls)
        table: Any = IntParseTable
        made._parse_table = table(states, data["start_states"], data["end_states"])  # noqa: SLF001
        made.parser = Driver(made._parse_table, callbacks, debug)  # noqa: SLF001
        return made
