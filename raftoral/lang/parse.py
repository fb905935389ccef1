"""Text to syntax tree: the reductions of the LALR parser make the nodes of `ast`.

Spans come from tokens, since asking lark to track them costs a third of the speed. What the grammar
cannot say (a number too large, an unknown escape, a hole in a text) is reported and replaced by
something harmless. If the text does not parse, `syntax_errors` reads it again to explain why.
"""

from __future__ import annotations

import functools
import re
from contextvars import ContextVar
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, cast

from lark import Lark, TextSlice, Token, Transformer
from lark.exceptions import UnexpectedInput

from raftoral.lang import ast, grammar, syntax_errors
from raftoral.lang.ast import Ident
from raftoral.lang.source import Source, Span
from raftoral.values import EXACT, INT_MAX, Money, parse_span

if TYPE_CHECKING:
    from raftoral.lang.diagnostics import Diagnostics

TEXT_BYTES_MAX: Final = 256 * 1024

_ESCAPES: Final = {"n": "\n", "t": "\t", '"': '"', "\\": "\\", "{": "{", "}": "}"}
_SPECIAL = re.compile(r"\\(u\{[0-9A-Fa-f]{1,6}\}|.)|\{([^{}]*)\}|([{}])", re.DOTALL)
_SIMPLE_HOLE = re.compile(r"[a-z_][A-Za-z0-9_]*(?:\.[a-z_][A-Za-z0-9_]*)*\Z")
_NOT_VALUES: Final = frozenset({"true", "false", "none", "not", "if"})


@dataclass(frozen=True, slots=True)
class _Reading:
    """What the reductions need beside their tokens."""

    text: str
    diagnostics: Diagnostics


_reading: ContextVar[_Reading] = ContextVar("_reading")


def parse(source: Source, diagnostics: Diagnostics) -> ast.File | None:
    """Return the tree of ``source``; None if it does not parse, and then there is a report."""
    if len(source.text.encode("utf-8", "replace")) > TEXT_BYTES_MAX:
        diagnostics.error(
            "RWF0404",
            f"the text is larger than {TEXT_BYTES_MAX // 1024} KiB",
            Span(0, 1),
            "split it into several files",
        )
        return None
    token = _reading.set(_Reading(source.text, diagnostics))
    try:
        return cast(ast.File, _parser().parse(source.text, start="start"))
    except UnexpectedInput:
        syntax_errors.explain(_parser(), source, diagnostics)
        assert diagnostics.has_errors
        return None
    finally:
        _reading.reset(token)


@functools.cache
def _parser() -> Lark:
    return grammar.build(_Builder(visit_tokens=False))


def _span(first: Any, last: Any) -> Span:
    """Return the span from one piece to another; a piece is a token or a node."""
    start: int = first.start_pos if type(first) is Token else first.span[0]  # type: ignore[assignment]
    end: int = last.end_pos if type(last) is Token else last.span[1]  # type: ignore[assignment]
    return Span(start, end)


def _ident(token: Token) -> Ident:
    return Ident(Span(token.start_pos, token.end_pos), token.value)  # type: ignore[arg-type]


def _at(token: Token) -> Span:
    return Span(token.start_pos, token.end_pos)  # type: ignore[arg-type]


def _report(code: str, message: str, span: Span, label: str = "") -> None:
    _reading.get().diagnostics.error(code, message, span, label)


# ------------------------------------------------------------------ literals
def _int(token: Token) -> int:
    text = token.value.replace("_", "")
    if len(text) > 19 or int(text) > INT_MAX:
        _report("RWF0008", "this number does not fit into 64 bit", _at(token), "too large")
        return 0
    return int(text)


def _decimal(text: str, span: Span) -> Decimal:
    text = text.replace("_", "")
    if len(text.replace(".", "").lstrip("0")) > EXACT.prec:
        _report("RWF0008", f"a decimal has at most {EXACT.prec} digits", span, "too long")
        return Decimal(0)
    return Decimal(text)


def _text(span: Span, start: int, end: int) -> ast.Literal | ast.Text:
    """Return the text between two offsets of the source, its escapes and holes resolved."""
    reading = _reading.get()
    raw = reading.text[start:end]
    if "{" not in raw and "\\" not in raw and "}" not in raw:
        return ast.Literal(span, raw)
    parts: list[str | ast.Expr] = []
    done = 0
    for found in _SPECIAL.finditer(raw):
        parts.append(raw[done : found.start()])
        done = found.end()
        at = Span(start + found.start(), start + found.end())
        escape, hole, brace = found.groups()
        if escape is not None:
            parts.append(_escape(escape, at))
        elif brace is not None:
            _report("RWF0007", "this brace has no partner", at, "write `\\{` for a brace")
        elif not hole.strip():
            _report("RWF0007", "this hole is empty", at, "write `\\{\\}` for braces")
        else:
            parts.append(_hole(hole, at.start + 1, at.end - 1))
    parts.append(raw[done:])
    return _joined(span, parts)


def _joined(span: Span, parts: list[str | ast.Expr]) -> ast.Literal | ast.Text:
    merged: list[str | ast.Expr] = []
    for part in parts:
        if isinstance(part, str) and merged and isinstance(merged[-1], str):
            merged[-1] += part
        elif part != "":
            merged.append(part)
    if not merged:
        return ast.Literal(span, "")
    if len(merged) == 1 and isinstance(merged[0], str):
        return ast.Literal(span, merged[0])
    return ast.Text(span, tuple(merged))


def _escape(escape: str, at: Span) -> str:
    if escape in _ESCAPES:
        return _ESCAPES[escape]
    if escape.startswith("u{"):
        number = int(escape[2:-1], 16)
        if number <= 0x10FFFF and not 0xD800 <= number <= 0xDFFF:
            return chr(number)
    _report(
        "RWF0007", f"unknown escape `\\{escape}`", at, 'known are \\n \\t \\" \\\\ \\{ \\} \\u{..}'
    )
    return ""


def _hole(hole: str, start: int, end: int) -> ast.Expr:
    if _SIMPLE_HOLE.match(hole) and hole not in _NOT_VALUES:
        return _path(hole, start)
    text = _reading.get().text
    try:
        return cast("ast.Expr", _parser().parse(TextSlice(text, start, end), start="single_expr"))
    except UnexpectedInput as error:
        reading = _reading.get()
        syntax_errors.explain_hole(error, Span(start, end), reading.text, reading.diagnostics)
        return ast.Literal(Span(start, end), "")


def _path(hole: str, start: int) -> ast.Expr:
    """Return ``a.b.c`` without asking the parser."""
    words = hole.split(".")
    end = start + len(words[0])
    value: ast.Expr = ast.Name(Span(start, end), words[0])
    for word in words[1:]:
        ident = Ident(Span(end + 1, end + 1 + len(word)), word)
        end = ident.span.end
        value = ast.Member(Span(start, end), value, ident, optional=False)
    return value


# ------------------------------------------------------------------ reductions
class _Builder(Transformer[Any, Any]):
    """One method a rule; ``c`` are its children, in the order of the grammar."""

    def start(self, c: list[Any]) -> ast.File:
        return ast.File(tuple(c))

    def single_expr(self, c: list[Any]) -> Any:
        return c[0]

    # definitions
    def const_def(self, c: list[Any]) -> ast.ConstDef:
        return ast.ConstDef(_span(c[0], c[5]), _ident(c[1]), c[3], c[5])

    def record_def(self, c: list[Any]) -> ast.RecordDef:
        return ast.RecordDef(_span(c[0], c[-1]), _ident(c[1]), tuple(c[3:-1]))

    def error_def(self, c: list[Any]) -> ast.ErrorDef:
        if c[2] is None:
            return ast.ErrorDef(_span(c[0], c[1]), _ident(c[1]), ())
        return ast.ErrorDef(_span(c[0], c[-1]), _ident(c[1]), tuple(c[3:-1]))

    def field(self, c: list[Any]) -> ast.Param:
        return ast.Param(_span(c[0], c[1] if c[2] is None else c[2]), c[0], c[1], c[2])

    def fname(self, c: list[Any]) -> Ident:
        return _ident(c[0])

    def activity_def(self, c: list[Any]) -> ast.ActivityDef:
        result = c[6]
        raises: list[Ident] = []
        timeout: ast.Expr | None = None
        idempotent = False
        for _, value in c[7:]:
            if isinstance(value, tuple):
                raises.extend(value)
            elif value is None:
                idempotent = True
            else:
                timeout = value
        last = c[-1][0] if len(c) > 7 else c[4] if result is None else result
        span = _span(c[0], last)
        return ast.ActivityDef(span, c[1], c[3], result, tuple(raises), timeout, idempotent)

    def activity_option(self, c: list[Any]) -> tuple[Any, Any]:
        return c[0][-1], c[0]

    def idempotent(self, c: list[Any]) -> tuple[Any, Any]:
        return c[0], None

    def default_timeout(self, c: list[Any]) -> tuple[Any, Any]:
        return c[0], c[0]

    def raises(self, c: list[Any]) -> tuple[Ident, ...]:
        return tuple(map(_ident, c))

    names = raises
    retry_on = raises

    def fn_def(self, c: list[Any]) -> ast.FnDef:
        return ast.FnDef(_span(c[0], c[-1]), _ident(c[1]), c[3], c[6], c[7])

    def params(self, c: list[Any]) -> tuple[ast.Param, ...]:
        return tuple(c)

    def param(self, c: list[Any]) -> ast.Param:
        name = _ident(c[0])
        return ast.Param(_span(name, c[1] if c[2] is None else c[2]), name, c[1], c[2])

    def workflow_def(self, c: list[Any]) -> ast.WorkflowDef:
        version = None if c[3] is None else _int(c[3])
        span = _span(c[0], c[1] if c[3] is None else c[3])
        return ast.WorkflowDef(span, c[1], version, c[5], c[8], c[9] or (), c[10])

    def qname(self, c: list[Any]) -> Ident:
        if len(c) == 1:
            return _ident(c[0])
        return Ident(_span(c[0], c[-1]), ".".join(t.value for t in c))

    # types
    def type_ref(self, c: list[Any]) -> ast.TypeRef:
        inner: ast.TypeRef = c[0]
        if c[1] is None:
            return inner
        return ast.TypeRef(_span(inner, c[1]), inner.name, inner.arguments, optional=True)

    def named_type(self, c: list[Any]) -> ast.TypeRef:
        name: Token = c[0]
        if len(c) == 1 or c[1] is None:
            return ast.TypeRef(_at(name), name.value, (), optional=False)
        inner = tuple(t for t in c[2:-1] if type(t) is ast.TypeRef)
        return ast.TypeRef(_span(name, c[-1]), name.value, inner, optional=False)

    # statements
    def block(self, c: list[Any]) -> ast.Block:
        return ast.Block(_span(c[0], c[-1]), tuple(c[1:-1]))

    def let_stmt(self, c: list[Any]) -> ast.Let:
        return ast.Let(_span(c[0], c[5]), _ident(c[1]), c[3], c[5], c[0].value == "var")

    def assign_stmt(self, c: list[Any]) -> ast.Assign:
        return ast.Assign(_span(c[0], c[1]), _ident(c[0]), c[1])

    def require_stmt(self, c: list[Any]) -> ast.Require:
        return ast.Require(_span(c[0], c[3]), c[1], c[3])

    def return_stmt(self, c: list[Any]) -> ast.Return:
        return ast.Return(_span(c[0], c[1]), c[1])

    def fail_stmt(self, c: list[Any]) -> ast.Fail:
        return ast.Fail(_span(c[0], c[1]), c[1])

    def break_stmt(self, c: list[Any]) -> ast.Break:
        return ast.Break(_at(c[0]))

    def continue_stmt(self, c: list[Any]) -> ast.Continue:
        return ast.Continue(_at(c[0]))

    def checkpoint_stmt(self, c: list[Any]) -> ast.CheckpointStmt:
        return ast.CheckpointStmt(_span(c[0], c[5]), _ident(c[1]), c[3], c[5])

    def compute_stmt(self, c: list[Any]) -> ast.ComputeStmt:
        name, kind = c[1] or (None, None)
        span = _span(c[0], c[-1])
        return ast.ComputeStmt(span, name, kind, c[2], c[4], tuple(c[6:]))

    def binding(self, c: list[Any]) -> tuple[Ident, ast.TypeRef | None]:
        return _ident(c[0]), c[1]

    def retry(self, c: list[Any]) -> ast.Retry:
        count: Token = c[0]
        attempts = 1 if count.value == "never" else _int(count)
        return ast.Retry(_at(count), attempts, c[1], c[2] or 0, c[3] or ())

    def timeout(self, c: list[Any]) -> ast.Timeout:
        return ast.Timeout(c[0].span, c[0])

    def backoff(self, c: list[Any]) -> ast.Backoff:
        factor = 200
        if c[5] is not None:
            factor = min(int(_decimal(c[5].value, _at(c[5])) * 100), 1_000_000)
        return ast.Backoff(_span(c[0], c[3]), c[1], c[3], factor)

    def jitter(self, c: list[Any]) -> int:
        return int(c[0].value[:-1][:4])

    def sleep_stmt(self, c: list[Any]) -> ast.Sleep:
        return ast.Sleep(_span(c[0], c[2]), c[2], c[1] is not None)

    def await_stmt(self, c: list[Any]) -> ast.Await:
        name = None if c[3] is None else _ident(c[3])
        last = next(x for x in (c[7], c[5], c[3], c[1]) if x is not None)
        return ast.Await(_span(c[0], last), _ident(c[1]), name, c[5], c[7])

    def log_stmt(self, c: list[Any]) -> ast.Log:
        return ast.Log(_span(c[0], c[1]), c[1])

    def signal_def(self, c: list[Any]) -> ast.SignalDef:
        return ast.SignalDef(_span(c[0], c[-1]), _ident(c[1]), c[3])

    def if_stmt(self, c: list[Any]) -> ast.If:
        otherwise = c[-1]
        body = [x for x in c[:-2] if type(x) is not Token]
        arms = tuple(ast.Arm(body[n], body[n + 1]) for n in range(0, len(body), 2))
        return ast.If(_span(c[0], otherwise or body[-1]), arms, otherwise)

    def match_stmt(self, c: list[Any]) -> ast.Match:
        return ast.Match(_span(c[0], c[-1]), c[1], tuple(c[3:-1]))

    def case(self, c: list[Any]) -> ast.Case:
        return ast.Case(_span(c[0], c[4]), c[1], c[3], c[4])

    def while_stmt(self, c: list[Any]) -> ast.While:
        return ast.While(_span(c[0], c[4]), c[1], c[3], c[4])

    def for_stmt(self, c: list[Any]) -> ast.For:
        return ast.For(_span(c[0], c[4]), _ident(c[1]), c[3], c[4])

    def try_stmt(self, c: list[Any]) -> ast.Try:
        catches = tuple(x for x in c[2:-2] if type(x) is ast.Catch)
        last = c[-1] or (catches[-1] if catches else c[1])
        return ast.Try(_span(c[0], last), c[1], catches, c[-1])

    def catch(self, c: list[Any]) -> ast.Catch:
        variable = None if c[2] is None else _ident(c[2])
        return ast.Catch(_span(c[0], c[3]), c[1] or (), variable, c[3])

    # patterns
    def bind_pattern(self, c: list[Any]) -> Ident:
        return _ident(c[0])

    def literal_pattern(self, c: list[Any]) -> tuple[ast.Literal, ...]:
        return tuple(c)

    def pattern_literal(self, c: list[Any]) -> ast.Literal:
        if len(c) == 1:
            return self._plain(c[0])
        value = c[1].value if isinstance(c[1], ast.Literal) else None
        span = _span(c[0], c[1])
        match value:
            case bool() | None | str():
                _report("RWF0001", "only a number has a minus sign", span)
                return ast.Literal(span, 0)
            case int() | Decimal():
                return ast.Literal(span, -value)
            case Money(amount, currency):
                return ast.Literal(span, Money(-amount, currency))
            case _:
                return ast.Literal(span, value)

    def _plain(self, literal: Any) -> ast.Literal:
        if isinstance(literal, ast.Literal):
            return literal
        _report("RWF0001", "a pattern is a fixed text", literal.span, "has a hole")
        return ast.Literal(literal.span, "")

    # expressions
    def if_expr(self, c: list[Any]) -> ast.Choice:
        return ast.Choice(_span(c[0], c[5]), c[1], c[3], c[5])

    def coalesce(self, c: list[Any]) -> ast.Binary:
        return ast.Binary(_span(c[0], c[1]), "??", c[0], c[1])

    def or_(self, c: list[Any]) -> ast.Binary:
        return ast.Binary(_span(c[0], c[1]), "or", c[0], c[1])

    def and_(self, c: list[Any]) -> ast.Binary:
        return ast.Binary(_span(c[0], c[1]), "and", c[0], c[1])

    def not_(self, c: list[Any]) -> ast.Unary:
        return ast.Unary(_span(c[0], c[1]), "not", c[1])

    def binary(self, c: list[Any]) -> ast.Binary:
        return ast.Binary(_span(c[0], c[2]), c[1].value, c[0], c[2])

    def in_(self, c: list[Any]) -> ast.Binary:
        return ast.Binary(_span(c[0], c[1]), "in", c[0], c[1])

    def not_in(self, c: list[Any]) -> ast.Unary:
        span = _span(c[0], c[2])
        return ast.Unary(span, "not", ast.Binary(span, "in", c[0], c[2]))

    def is_none(self, c: list[Any]) -> ast.IsNone:
        return ast.IsNone(_span(c[0], c[2]), c[0], c[1] is not None)

    def neg(self, c: list[Any]) -> ast.Unary:
        return ast.Unary(_span(c[0], c[1]), "-", c[1])

    def member(self, c: list[Any]) -> ast.Member:
        return ast.Member(_span(c[0], c[1]), c[0], _ident(c[1]), optional=False)

    def opt_member(self, c: list[Any]) -> ast.Member:
        return ast.Member(_span(c[0], c[2]), c[0], _ident(c[2]), optional=True)

    def index(self, c: list[Any]) -> ast.Subscript:
        return ast.Subscript(_span(c[0], c[2]), c[0], c[1])

    def apply(self, c: list[Any]) -> ast.Call:
        return ast.Call(_span(c[0], c[2]), c[0], c[1])

    def name(self, c: list[Any]) -> ast.Name:
        return ast.Name(_at(c[0]), c[0].value)

    def uname(self, c: list[Any]) -> ast.TypeName:
        return ast.TypeName(_at(c[0]), c[0].value)

    def group(self, c: list[Any]) -> Any:
        return c[0]

    def list_of(self, c: list[Any]) -> ast.ListOf:
        return ast.ListOf(_span(c[0], c[-1]), tuple(x for x in c[1:-1] if x is not None))

    def comprehension(self, c: list[Any]) -> ast.Comprehension:
        return ast.Comprehension(_span(c[0], c[5]), c[1], _ident(c[2]), c[3], c[4])

    def map_of(self, c: list[Any]) -> ast.MapOf:
        return ast.MapOf(_span(c[0], c[-1]), tuple(x for x in c[1:-1] if x is not None))

    def update(self, c: list[Any]) -> ast.Update:
        return ast.Update(_span(c[0], c[-1]), c[1], tuple(c[2:-1]))

    def entry(self, c: list[Any]) -> ast.Entry:
        key: Token = c[0]
        ident = _ident(key)
        if key.type == "STRING":
            literal = _text(ident.span, ident.span.start + 1, ident.span.end - 1)
            if isinstance(literal, ast.Text):
                _report("RWF0001", "a key is a fixed text", ident.span, "has a hole")
            ident = Ident(
                ident.span, str(literal.value) if isinstance(literal, ast.Literal) else ""
            )
        return ast.Entry(_span(key, c[1]), ident, c[1])

    def args(self, c: list[Any]) -> tuple[ast.Arg, ...]:
        return tuple(c)

    def arg(self, c: list[Any]) -> ast.Arg:
        name = None if c[0] is None else _ident(c[0])
        return ast.Arg(_span(name or c[1], c[1]), name, c[1])

    def comp_arg(self, c: list[Any]) -> ast.Arg:
        span = _span(c[0], c[3] or c[2])
        return ast.Arg(span, None, ast.Comprehension(span, c[0], _ident(c[1]), c[2], c[3]))

    # literals
    def integer(self, c: list[Any]) -> ast.Literal:
        return ast.Literal(_at(c[0]), _int(c[0]))

    def decimal(self, c: list[Any]) -> ast.Literal:
        return ast.Literal(_at(c[0]), _decimal(c[0].value, _at(c[0])))

    def duration(self, c: list[Any]) -> ast.Literal:
        try:
            return ast.Literal(_at(c[0]), parse_span(c[0].value))
        except ValueError as error:
            _report("RWF0008", str(error), _at(c[0]), "too long")
            return ast.Literal(_at(c[0]), parse_span("0s"))

    def money(self, c: list[Any]) -> ast.Literal:
        text = c[0].value
        return ast.Literal(_at(c[0]), Money(_decimal(text[:-3], _at(c[0])), text[-3:]))

    def string(self, c: list[Any]) -> ast.Literal | ast.Text:
        span = _at(c[0])
        return _text(span, span.start + 1, span.end - 1)

    def long_string(self, c: list[Any]) -> ast.Literal | ast.Text:
        span = _at(c[0])
        skip = 4 if c[0].value[3:4] == "\n" else 3
        return _text(span, span.start + skip, max(span.start + skip, span.end - 3))

    def true(self, c: list[Any]) -> ast.Literal:
        return ast.Literal(_at(c[0]), True)

    def false(self, c: list[Any]) -> ast.Literal:
        return ast.Literal(_at(c[0]), False)

    def none(self, c: list[Any]) -> ast.Literal:
        return ast.Literal(_at(c[0]), None)
