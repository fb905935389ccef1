"""The canonical layout of a source: `raftoral fmt`, and the text that the registry keeps.

The parse tree says where lines may break, the tokens say what is printed, and `layout` chooses. The
answer depends on the tokens, the comments and the empty lines of a text and on nothing else of its
layout: line ends are blanks in this language. Only commas come and go: a list that is broken over
lines ends in one, fields have none. Every other token is printed once, which is asserted.

100 columns, 2 spaces, one statement a line, at most one empty line. The clauses of a step stand on
lines of their own when there are several or when the line would be too long. A block is on one line
only if it ends a statement that has no other and holds one plain statement.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from lark import Token, Tree
from lark.exceptions import UnexpectedInput

from raftoral.lang import grammar
from raftoral.lang.layout import (
    Broken,
    Cat,
    Comment,
    Doc,
    Group,
    Hard,
    Indent,
    Line,
    Printer,
    Tok,
    Trail,
)
from raftoral.lang.parse import bounded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from lark import Lark

    from raftoral.lang.diagnostics import Diagnostics
    from raftoral.lang.source import Source

WIDTH: Final = 100

LISTS: Final = frozenset(
    {"args", "params", "list_of", "map_of", "update", "decode", "shape_pattern"}
)
"""Rules whose items are separated by commas, and whose last one may be followed by a comma."""

FIELDS: Final = {"record_def": "  ", "error_def": "  ", "enum_def": " "}
"""Rules whose braces hold fields or variants: one line, with this between them, if they fit."""

MEMBERS: Final = frozenset({"field", "variant"})
"""What stands in such braces; the comma behind it is left out."""

_OPTIONS: Final = frozenset({"activity_option", "raises", "search", "compensate"})
# Words and rules before which a line may end.
_SOFT: Final[dict[str, set[str]]] = {
    "require_stmt": {"else"},
    "if_expr": {"then", "else"},
    "comp_arg": {"each"},
    "comprehension item": {"each"},
    "each": {"if"},
    "for_stmt": {"fan"},
    "retry_body": {"backoff", "jitter", "retry_on"},
    "alternatives": {"|"},
}
_FLAT_SOFT: Final = frozenset({"comp_arg", "comprehension item", "each"})
_LEAVES: Final = frozenset(
    {"return", "fail", "give", "break", "continue", "log", "sleep", "undo", "assign_stmt"}
)
_STRENGTH: Final = {"+": "sum", "-": "sum", "*": "product", "/": "product", "//": "product",
                    "%": "product", "or": "or", "and": "and", "??": "coalesce"}  # fmt: skip
_CHAINS: Final = frozenset({"binary", "or_", "and_", "coalesce", "in_", "not_in"})
_TIGHT: Final = frozenset({"named_type", "neg", "index", "pattern_literal"})
_NONE_BEFORE: Final = frozenset({",", ")", "]", ".", "?.", ":", "?", ".."})
_NONE_AFTER: Final = frozenset({"(", "[", ".", "?.", "..", "..."})
_CLOSING: Final = {"(": ")", "[": "]", "{": "}"}
_COMMENT = re.compile(r"#[^\n]*")


def format_source(source: Source, diagnostics: Diagnostics) -> str | None:
    """Return the canonical text of a source in its `Source.clean` form.

    None if it does not parse, and then the reports are in ``diagnostics``. Formatting the answer
    again changes nothing.
    """
    if not bounded(source, diagnostics):
        return None
    parser = _parser()
    try:
        tree = parser.parse(source.text, start="start")
    except UnexpectedInput:
        from raftoral.lang import syntax_errors

        syntax_errors.explain(parser, source, diagnostics)
        assert diagnostics.has_errors
        return None
    tokens = _tokens(tree, source.text)
    printer = Printer(WIDTH)
    text = printer.print(_Layout(tokens).document(tree))
    wanted = [one for one in tokens.values() if one.text != ","]
    assert [one for one in printer.tokens if one.text != ","] == wanted, "a token was lost"
    return text


@functools.cache
def _parser() -> Lark:
    return grammar.build(None, keep_all_tokens=True)


@functools.cache
def _clauses() -> frozenset[str]:
    """Return the rules that the grammar calls clauses of a statement."""
    rules = [rule for rule in _parser().rules if rule.origin.name.endswith("clause")]
    return frozenset(rule.alias or rule.origin.name for rule in rules)


# ------------------------------------------------------------------ tokens and their comments
def _walk(tree: Tree[Token]) -> Iterator[Token]:
    """Return the tokens of a tree in their order; no depth needs a deep stack."""
    todo: list[Any] = [tree]
    while todo:
        one = todo.pop()
        if isinstance(one, Token):
            yield one
        elif one is not None:
            todo.extend(reversed(one.children))


def _tokens(tree: Tree[Token], text: str) -> dict[int, Tok]:
    """Return the tokens by their offsets, with the comments around them; the end of the text too."""
    found: dict[int, Tok] = {}
    last: Tok | None = None
    done = 0
    for token in [*_walk(tree), Token("$END", "", len(text))]:
        start = token.start_pos or 0
        made = Tok(token.value, token.type)
        for comment in _COMMENT.finditer(text, done, start):
            space = text[done : comment.start()]
            if last is not None and "\n" not in space:
                last.trail.append(comment[0].rstrip())
            else:
                made.lead.append(Comment(comment[0].rstrip(), space.count("\n") > 1))
            done = comment.end()
        made.blank = text.count("\n", done, start) > 1
        found[start] = last = made
        done = start + len(token.value)
    return found


# ------------------------------------------------------------------ the tree, bottom up
@dataclass(slots=True, eq=False)
class _Block:
    """A block of statements; ``leaf`` tells whether it may stand on one line."""

    group: Group
    close: Tok
    leaf: bool


@dataclass(slots=True, eq=False)
class _Piece:
    """What a rule became: its document, and what the rule around it asks about it."""

    rule: str
    first: Tok
    last: Tok
    doc: Doc
    items: list[_Piece] = field(default_factory=list)
    blocks: list[_Block] = field(default_factory=list)
    # A chain of operators of one strength: `a + b - c` is one, broken at all of them or at none.
    strength: str = ""
    chain: tuple[Doc, list[Doc]] | None = None


_Child: TypeAlias = "_Piece | Tok"


class _Layout:
    """Turns the tree of one source into a document."""

    def __init__(self, tokens: dict[int, Tok]) -> None:
        self._tokens = tokens
        self._end = tokens[max(tokens)]

    def document(self, tree: Tree[Token]) -> Doc:
        """Return the document of a whole file."""
        made: dict[int, _Piece | None] = {}
        for node in tree.iter_subtrees():
            children: list[_Child] = []
            for child in node.children:
                if isinstance(child, Token):
                    children.append(self._tokens[child.start_pos or 0])
                elif (piece := made.get(id(child))) is not None:
                    children.append(piece)
            if node is tree:
                return self._members(children, Hard, self._end, fold=False)
            made[id(node)] = self._piece(str(node.data), children) if children else None
        raise AssertionError("a tree ends in its root")

    def _piece(self, rule: str, children: list[_Child]) -> _Piece:
        if rule in _CHAINS:
            return self._chained(rule, children)
        if rule in ("args", "params"):
            items = self._items(rule, children)
            return _Piece(rule, _first(children[0]), _last(children[-1]), "", items)
        if rule in MEMBERS and _text(children[-1]) == ",":
            _drop(children.pop(), children[-1])
        return self._plain(rule, children)

    def _chained(self, rule: str, children: list[_Child]) -> _Piece:
        """Return operands and operators, broken before each operator if at all."""
        left, *operators, right = children
        strength = _STRENGTH.get(_text(operators[0]), "comparison")
        head: Doc = _doc(left)
        rest: list[Doc] = []
        if isinstance(left, _Piece) and left.chain and left.strength == strength != "comparison":
            # The chain goes on: one list, of which only the last group is ever printed.
            head, rest = left.chain
        rest.append(Line())
        for one in operators:
            rest += [_doc(one), " "]
        rest.append(_doc(right))
        doc = Group(Cat([head, Indent(Cat(rest))]))
        return _Piece(rule, _first(left), _last(right), doc, strength=strength, chain=(head, rest))

    def _plain(self, rule: str, children: list[_Child]) -> _Piece:
        """Return the children one after the other, brackets as groups, clauses at the end."""
        parts: list[Doc] = []
        tail: list[Doc] = []
        blocks: list[_Block] = []
        before: Tok | None = None
        clauses = number = 0
        while number < len(children):
            child = children[number]
            end = number + 1
            if tail and isinstance(child, _Piece) and child.rule == "block":
                break  # the brace behind a header that is broken stands alone
            is_clause = number > 0 and _rule(child) in _clauses() | _OPTIONS
            clauses += is_clause
            if is_clause or (number and _is_soft(rule, child, children[number - 1])):
                tail.append(Line())
            else:
                (tail or parts).append(_space(rule, before, _first(child)))
            if _text(child) in _CLOSING:
                end = _closing(children, number)
                inner = children[number + 1 : end - 1]
                doc = self._bracket(rule, _first(child), inner, _last(children[end - 1]), blocks)
            else:
                doc = _doc(child)
                blocks += child.blocks if isinstance(child, _Piece) else []
            (tail or parts).append(doc)
            before = _last(children[end - 1])
            number = end
        whole: Doc = Cat(parts)
        if tail:
            whole = _tailed(rule, parts, tail, clauses)
        for child in children[number:]:
            assert isinstance(child, _Piece)
            assert isinstance(whole, Group)
            whole.part = Cat([whole.part, Line()])
            whole = Cat([whole, child.doc])
            blocks += child.blocks
        return _Piece(rule, _first(children[0]), _last(children[-1]), whole, blocks=blocks)

    # -------------------------------------------------------------- brackets
    def _bracket(
        self, rule: str, opening: Tok, inner: list[_Child], close: Tok, blocks: list[_Block]
    ) -> Doc:
        if opening.text == "{" and rule not in LISTS:
            return self._braces(rule, opening, inner, close, blocks)
        if len(inner) == 1 and isinstance(inner[0], _Piece) and inner[0].items:
            rule, items = inner[0].rule, inner[0].items
        else:
            items = self._items(rule, inner)
        for item in items:
            blocks += item.blocks
        if not items and not close.lead:
            return Cat([opening, close])
        comma = rule in LISTS and not any(item.rule == "comp_arg" for item in items)
        parts: list[Doc] = [Line("")]
        for number, item in enumerate(items):
            last = number == len(items) - 1
            parts += [item.doc, _held(item.last)]
            parts.append("," if not last else Broken(",") if comma else "")
            parts.append("" if last else Line())
        for comment in close.lead:
            parts += [Hard(), comment]
        close.lead = []
        return Cat([Group(Cat([opening, Indent(Cat(parts)), Line("")])), close])

    def _items(self, rule: str, children: list[_Child]) -> list[_Piece]:
        """Return what stands between the commas; comments on a comma move to what is before it."""
        items: list[_Piece] = []
        item: list[_Child] = []
        for child in children:
            if _text(child) == "," and isinstance(child, Tok):
                items.append(self._joined(rule, item))
                _drop(child, items[-1])
                item = []
            else:
                item.append(child)
        if item:
            items.append(self._joined(rule, item))
        return items

    def _joined(self, rule: str, item: list[_Child]) -> _Piece:
        if len(item) == 1 and isinstance(item[0], _Piece):
            return item[0]
        return self._plain(f"{rule} item", item)

    def _braces(
        self, rule: str, opening: Tok, inner: list[_Child], close: Tok, blocks: list[_Block]
    ) -> Doc:
        """Return fields, or statements, which stand on lines of their own."""
        if not inner and not close.lead:
            return Cat([opening, close])
        fields = rule in FIELDS
        space: Callable[[bool], Doc] = functools.partial(Line, FIELDS[rule]) if fields else Hard
        content = self._members(inner, space, close, fold=not fields)
        group = Group(Cat([opening, Indent(Cat([Line(), content])), Line()]), broken=not fields)
        if not fields:
            leaf = len(inner) == 1 and isinstance(inner[0], _Piece) and _is_leaf(inner[0])
            blocks.append(_Block(group, close, leaf))
        return Cat([group, close])

    def _members(
        self, members: Sequence[_Child], space: Callable[[bool], Doc], close: Tok, *, fold: bool
    ) -> Doc:
        """Return members with the comments and empty lines between them, and those before the end."""
        parts: list[Doc] = []
        for member in members:
            first = _first(member)
            blank = first.lead[0].blank if first.lead else first.blank
            if parts:
                parts.append(space(blank))
            for number, comment in enumerate(first.lead, 1):
                after = first.lead[number] if number < len(first.lead) else first
                parts += [comment, Hard(after.blank)]
            first.lead = []
            if fold and isinstance(member, _Piece):
                _fold(member)
            parts += [_doc(member), _held(_last(member))]
        for comment in close.lead:
            if parts:
                parts.append(Hard(comment.blank))
            parts.append(comment)
        close.lead = []
        return Cat([*parts, close]) if close is self._end else Cat(parts)


def _is_soft(rule: str, child: _Child, before: _Child) -> bool:
    """Tell whether a line may end before ``child``."""
    if (_rule(child) or _text(child)) in _SOFT.get(rule, ()):
        return True
    return rule == "names" and _text(before) == ","


def _tailed(rule: str, parts: list[Doc], tail: list[Doc], clauses: int) -> Doc:
    """Return a head and its clauses; several of them stand below it, those of a header together."""
    if rule in _FLAT_SOFT:
        return Cat([*parts, *tail])
    if rule.endswith("_def"):
        tail = [tail[0], Group(Cat(tail[1:]))]
        clauses = 0
    return Group(Cat([*parts, Indent(Cat(tail))]), broken=clauses > 1)


def _is_leaf(member: _Piece) -> bool:
    return not member.blocks and (member.first.text in _LEAVES or member.rule in _LEAVES)


def _fold(member: _Piece) -> None:
    """Allow the only block of a statement, at its end and with one plain statement, on one line."""
    match member.blocks:
        case [_Block(group, close, True)] if close is member.last:
            group.broken = False
        case _:
            pass


def _held(last: Tok) -> Doc:
    """Take the comments off a token that ends a line anyway, so that they break nothing."""
    trail, last.trail = tuple(last.trail), []
    return Trail(trail) if trail else ""


def _drop(comma: _Child, before: _Child) -> None:
    """Leave a comma out, or have it made anew; its comments stay."""
    assert isinstance(comma, Tok)
    _last(before).trail += [comment.text for comment in comma.lead] + comma.trail


def _closing(children: list[_Child], number: int) -> int:
    """Return the number behind the bracket that closes the one at ``number``."""
    wanted = _CLOSING[_text(children[number])]
    return next(n for n in range(number, len(children)) if _text(children[n]) == wanted) + 1


def _space(rule: str, before: Tok | None, after: Tok) -> str:
    if before is None or after.text in _NONE_BEFORE or before.text in _NONE_AFTER:
        return ""
    if rule in _TIGHT and before.text != ",":
        return ""
    if after.text == "(" and (
        rule == "decode" or before.kind in ("NAME", "UNAME") or before.text in (")", "]")
    ):
        return ""
    return " "


def _first(child: _Child) -> Tok:
    return child if isinstance(child, Tok) else child.first


def _last(child: _Child) -> Tok:
    return child if isinstance(child, Tok) else child.last


def _doc(child: _Child) -> Doc:
    return child if isinstance(child, Tok) else child.doc


def _rule(child: _Child) -> str:
    return "" if isinstance(child, Tok) else child.rule


def _text(child: _Child) -> str:
    return child.text if isinstance(child, Tok) else ""
