"""Why a text does not parse: the words that were meant, the brace that is missing, all in one run.

Reads the text a second time, token by token and without building anything. At a mistake it asks the
LALR tables what could have stood there, reports, goes on at the next line that begins a statement
and drops the unfinished one. Frequent slips have a labelled snippet each in ``grammar/errors``.
"""

from __future__ import annotations

import functools
import re
from copy import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

from lark import Token
from lark.exceptions import UnexpectedCharacters, UnexpectedInput, UnexpectedToken
from lark.parsers.lalr_analysis import Shift

from raftoral._assets import asset
from raftoral.lang.braces import quiet_text, unclosed
from raftoral.lang.characters import unreadable
from raftoral.lang.diagnostics import Diagnostic, Meant, nearest, replacing
from raftoral.lang.grammar import HARD, fixed_texts, human, keywords
from raftoral.lang.source import Source, Span

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lark import Lark
    from lark.lexer import LexerState
    from lark.parsers.lalr_parser_state import ParserState

    from raftoral.lang.diagnostics import Diagnostics

MISTAKES_MAX: Final = 20

_ITEMS: Final = (
    "import", "const", "record", "enum", "error", "policy", "activity", "fn", "workflow", "test",
)  # fmt: skip
_STATEMENTS: Final = (
    "let", "var", "require", "return", "fail", "give", "break", "continue", "checkpoint", "compute",
    "call", "start", "callback", "sleep", "await", "log", "restart", "undo", "signal", "query",
    "update", "if", "match", "while", "for", "try", "case", "saga", "parallel", "race", "branch",
    "after", "given", "mock", "at", "expect",
)  # fmt: skip
_CLAUSES: Final = (
    "retry", "backoff", "factor", "jitter", "timeout", "deadline", "heartbeat", "key",
    "at_most_once", "compensate", "close", "answer", "on", "as", "else", "max", "and", "or",
    "raises", "search",
)  # fmt: skip
_RESUME = re.compile(
    r"\n[ \t]*((?:"
    + "|".join(_ITEMS + _STATEMENTS)
    + r")\b|\}|(?!(?:"
    + "|".join(_CLAUSES)
    + r")\b)[a-z_]\w*(?=[ \t]*(?:=[^=]|[\"(.])|[ \t]+[a-z_{]))"
)


def explain(parser: Lark, source: Source, diagnostics: Diagnostics) -> None:
    """Add a report for every mistake of a text that does not parse."""
    _Reader(parser, source.text, diagnostics).read()


def explain_hole(error: UnexpectedInput, hole: Span, text: str, diagnostics: Diagnostics) -> None:
    """Add a report for a hole of a text that holds no expression."""
    at: Any = error.pos_in_stream  # None at the end of the hole
    start = at if isinstance(at, int) and hole.start <= at < hole.end else hole.end
    found = text[start : start + 1]
    diagnostics.error(
        "RWF0007",
        "this hole holds no expression",
        Span(start, start + 1),
        "unexpected here" if found != "}" else "something is missing",
        help=("between braces stands an expression without quotes; write `\\{` for a brace",),
    )


@dataclass(frozen=True, slots=True)
class _Slip:
    """A frequent mistake: when it is recognised, and what is said then.

    By a ``word`` where it is found, by the word that it comes ``after``, by both, else by its
    ``place``: the state of the parser and the kind of token (None: any). In any case ``expecting``
    must be possible there.
    ``replace`` is what to write instead, if that is all there is to do.
    """

    message: str
    help: str
    replace: str
    word: str
    after: str
    expecting: str
    place: tuple[int, str | None] | None


# ------------------------------------------------------------------ what could stand here
def _accepted(states: Mapping[int, Mapping[str, Any]], stack: Sequence[int]) -> set[str]:
    """Return the terminals that may follow when the parser's states are ``stack``."""
    return {
        name
        for name in states[stack[-1]]
        if (name.isupper() or name == "$END") and _takes(states, stack, name)
    }


def _takes(states: Mapping[int, Mapping[str, Any]], stack: Sequence[int], terminal: str) -> bool:
    """Tell whether ``terminal`` can be shifted after the reductions that it causes."""
    own = list(stack)
    while True:
        entry = states[own[-1]].get(terminal)
        if entry is None:
            return False
        action, arg = entry
        if action is Shift:
            return True
        size = len(arg.expansion)
        if size:
            del own[-size:]
        goal = states[own[-1]].get(arg.origin.name)
        if goal is None:
            return False
        if terminal == "$END" and arg.origin.name == "start":
            return True
        own.append(goal[1])


# ------------------------------------------------------------------ one reading
class _Reader:
    """The state of one explanation."""

    def __init__(self, parser: Lark, text: str, diagnostics: Diagnostics) -> None:
        self.parser = parser
        self.text = text
        self.quiet = quiet_text(text)
        self.diagnostics = diagnostics
        self.fixed = fixed_texts(parser)
        interactive = parser.parse_interactive(text, start="start")
        self.thread: Any = interactive.lexer_thread
        lexing = self.thread.state
        assert lexing is not None
        self.lexing: LexerState = lexing
        self.state: ParserState[int] = interactive.parser_state
        conf = copy(self.state.parse_conf)
        conf.callbacks = {}  # nothing is built
        self.state.parse_conf = conf
        self.states: Mapping[int, Mapping[str, Any]] = conf.states
        self.last: Token | None = None
        # The states before the last token, and behind it.
        self.before_last: list[int] = []
        self.now: list[int] = list(self.state.state_stack)

    def read(self) -> None:
        """Read on until the end, or until a mistake after which no sense can be made."""
        for _ in range(MISTAKES_MAX):
            wrong = self.advance()
            if wrong is None or not self.report(wrong):
                return

    def advance(self) -> UnexpectedInput | None:
        """Feed tokens up to the next mistake; None at the end of the text."""
        try:
            for token in self.thread.lex(self.state):
                self.state.feed_token(token)
                self.before_last = self.now
                self.now = list(self.state.state_stack)
                self.last = token
            end = Token("$END", "", len(self.text), 1, 1, 1, 1, len(self.text))
            self.state.feed_token(end, is_end=True)
        except UnexpectedInput as wrong:
            return wrong
        return None

    def report(self, wrong: UnexpectedInput) -> bool:
        """Add the report of one mistake; tell whether reading can go on."""
        if isinstance(wrong, UnexpectedCharacters):
            return self.unreadable(cast(int, wrong.pos_in_stream))
        assert isinstance(wrong, UnexpectedToken)
        token = wrong.token
        # The parser may have reduced before it refused the token.
        self.state.state_stack[:] = self.now
        self.state.value_stack[:] = [None] * (len(self.now) - 1)
        accepted = _accepted(self.states, self.now)
        if self.is_unclosed(token, accepted):
            self.diagnostics.add(unclosed(self.text))
            return False
        slip = self.slip(token, accepted)
        self.diagnostics.add(slip or self.unexpected(token, accepted))
        start = token.start_pos or 0
        return token.type != "$END" and self.resume(self.lexing.line_ctr.char_pos, start)

    # -------------------------------------------------------------- kinds of mistakes
    def unreadable(self, at: int) -> bool:
        end, report = unreadable(self.text, at)
        self.diagnostics.add(report)
        self.lexing.line_ctr.char_pos = end
        return self.text[at] == ";" or self.resume(end, at)

    def is_unclosed(self, token: Token, accepted: set[str]) -> bool:
        """Tell whether a ``}`` is missing somewhere above."""
        if "RBRACE" not in accepted and not any(
            _takes(self.states, self.now[: n + 1], "RBRACE") for n in range(len(self.now))
        ):
            return False
        if token.type == "$END":
            # Reading may have lost count behind an earlier mistake.
            return self.quiet.count("{") > self.quiet.count("}")
        # Inside a block the word of a definition reads as a name, and the next token is the wrong one.
        for one in (self.last, token):
            if one is not None and one.value in _ITEMS:
                start = one.start_pos or 0
                return start == 0 or self.text[start - 1] == "\n"
        return False

    def pos(self) -> int:
        return self.lexing.line_ctr.char_pos

    def slip(self, token: Token, accepted: set[str]) -> Diagnostic | None:
        """Return the report of a frequent mistake that has a snippet."""
        texts = {self.fixed.get(name, "") for name in accepted}
        for one in _slips(self.parser):
            if one.expecting and one.expecting not in texts:
                continue
            last = self.last.value if self.last else ""
            if one.word and one.after:
                near = token if (last, token.value) == (one.after, one.word) else None
            elif one.word:
                near = next((t for t in (token, self.last) if t and t.value == one.word), None)
            elif one.after:
                near = self.last if last == one.after else None
            else:
                here = one.place in ((self.now[-1], token.type), (self.now[-1], None))
                near = token if here else None
            if near is not None:
                hints = (one.help,) if one.help else ()
                fixes = replacing(_at(near), one.replace, safe=True) if one.replace else ()
                return Diagnostic("RWF0005", one.message, _at(near), "", (), hints, fixes=fixes)
        return None

    def assigned(self, token: Token) -> Diagnostic | None:
        """Return the report of an assignment to a word of the language."""
        one = self.last if token.value == "=" else token
        if one is None or one.value not in keywords() or one.value in HARD:
            return None
        if not re.match(r"[ \t]*=(?!=)", self.text[one.end_pos or 0 :][:80]):
            return None
        help_ = (f"call it `{one.value}_` or, better, for what it is",)
        message = f"`{one.value}` is a word of the language"
        return Diagnostic("RWF0110", message, _at(one), "cannot be assigned to", (), help_)

    def unexpected(self, token: Token, accepted: set[str]) -> Diagnostic:
        assigned = self.assigned(token)
        if assigned is not None:
            return assigned
        words = keywords()
        last = self.last
        if last is not None and last.type in ("NAME", "UNAME") and last.value not in words:
            meant = nearest(last.value, self.words_of(_accepted(self.states, self.before_last)))
            if meant is not None:
                return Diagnostic(
                    "RWF0003",
                    f"`{last.value}` is not a clause or statement",
                    _at(last),
                    Meant(meant),
                    (),
                    (f"replace it: `{meant}`",),
                    (f"read as a name, this line would have to continue `{last.value} = ...`",),
                    fixes=replacing(_at(last), meant, safe=True),
                )
        if token.type == "$END":
            end = len(self.text.rstrip())
            return Diagnostic(
                "RWF0001",
                "the text ends too early",
                Span(max(0, end - 1), end),
                self.expected(accepted),
            )
        meant = nearest(token.value, self.words_of(accepted)) if token.value.isalpha() else None
        if meant is not None and token.value not in words:
            return Diagnostic(
                "RWF0003",
                f"`{token.value}` is not a clause or statement",
                _at(token),
                Meant(meant),
                fixes=replacing(_at(token), meant, safe=True),
            )
        shown = token.value if len(token.value) <= 30 else token.value[:30] + "..."
        closed = last is not None and last.value == "}" and token.value in _STATEMENTS
        closed = closed and "WORKFLOW" in accepted
        help_ = ("a `}` above has closed what this belongs to",) if closed else ()
        message = f"unexpected `{shown}`"
        return Diagnostic("RWF0001", message, _at(token), self.expected(accepted), help=help_)

    def words_of(self, terminals: set[str]) -> set[str]:
        return {w for t in terminals if (w := self.fixed.get(t, "")).isalpha()}

    def expected(self, accepted: set[str]) -> str:
        if {"NAME", "STRING", "INT"} <= accepted:
            return "expected a value"
        if accepted >= {"LET", "IF"}:
            return "expected a statement"
        if "LET" in accepted:  # a field may have any name
            return "expected a field"
        if "EXPECT" in accepted:
            return "expected a step of the test"
        if "WORKFLOW" in accepted:
            return "expected `{`" if "LBRACE" in accepted else "expected a definition"
        # After a whole value anything may follow; say what ends it.
        if "PLUS" in accepted:
            accepted = accepted & {
                "LBRACE",
                "RBRACE",
                "RPAR",
                "RSQB",
                "COMMA",
                "ELSE",
                "THEN",
                "IN",
            }
        either = {"UNAME"} if accepted >= {"NAME", "UNAME"} else set()
        names = sorted({human(t, self.fixed) for t in accepted - either})[:5]
        return "expected " + " or ".join(names) if names else "nothing can stand here"

    # -------------------------------------------------------------- going on
    def resume(self, pos: int, start: int) -> bool:
        """Go to the next line that begins a statement and drop the unfinished one.

        What is left out begins at ``start``: the braces in it are made good for, so that those that
        come later belong to the blocks that they were written for.
        """
        deepest = self.indent(pos)
        while found := _RESUME.search(self.text, pos):
            pos = found.start(1)
            word = found[1]
            if word != "}" and word not in keywords() and self.indent(pos) > deepest:
                continue  # the rest of the unfinished statement
            kind = "RBRACE" if word == "}" else word.upper() if word in keywords() else "NAME"
            self.balance(start, pos)
            start = pos
            if self.drop_to(kind) or (kind == "NAME" and self.drop_to("EXPECT")):
                self.lexing.line_ctr.char_pos = pos
                self.lexing.last_token = None
                self.last = None
                self.now = list(self.state.state_stack)
                return True
        return False

    def balance(self, start: int, end: int) -> None:
        """Close and open blocks as the braces between two places of the text do."""
        depth = low = 0
        for found in re.finditer(r"[{}]", self.quiet[start:end]):
            depth += 1 if found[0] == "{" else -1
            low = min(low, depth)
        for _ in range(-low):
            if self.drop_to("RBRACE"):
                self.state.feed_token(Token("RBRACE", "}"))
        for _ in range(depth - low):
            if self.drop_to("LET", "IF"):
                for kind, text in (("IF", "if"), ("TRUE", "true"), ("LBRACE", "{")):
                    self.state.feed_token(Token(kind, text))

    def indent(self, pos: int) -> int:
        """Return how many blanks the line of ``pos`` begins with."""
        line = self.text[self.text.rfind("\n", 0, pos) + 1 :][:200]
        return len(line) - len(line.lstrip(" \t"))

    def drop_to(self, *terminals: str) -> bool:
        """Pop the parser's stacks until any of ``terminals`` could begin or end a statement there.

        A field may have the name of a statement, a value begins with `if`: only both mean a block.
        """
        stack = self.state.state_stack
        probes = ["LET" if terminal == "NAME" else terminal for terminal in terminals]
        for size in range(len(stack), 0, -1):
            if all(_takes(self.states, stack[:size], probe) for probe in probes):
                del stack[size:]
                del self.state.value_stack[max(0, size - 1) :]
                return True
        return False


def _at(token: Token) -> Span:
    return Span(token.start_pos or 0, token.end_pos or 0)


# ------------------------------------------------------------------ frequent slips
@functools.cache
def _slips(parser: Lark) -> tuple[_Slip, ...]:
    """Return the snippets of ``grammar/errors``, each read up to its mistake."""
    found = []
    for path in sorted((asset("grammar") / "errors").glob("*.rwf")):
        text = path.read_text(encoding="utf-8")
        head = dict(
            re.findall(
                r"^# (says|help|replace|word|after|token|expecting): (.*)$", text, re.MULTILINE
            )
        )
        place = None
        if "word" not in head and "after" not in head:
            reader = _Reader(parser, text, _Nobody)
            wrong = reader.advance()
            assert isinstance(wrong, UnexpectedToken), f"{path.name} has no mistake"
            place = (reader.now[-1], None if "token" in head else wrong.token.type)
        found.append(
            _Slip(
                head["says"],
                head.get("help", ""),
                head.get("replace", ""),
                head.get("word", ""),
                head.get("after", ""),
                head.get("expecting", ""),
                place,
            )
        )
    # A word says more than a sign, and a sign more than the place alone.
    return tuple(sorted(found, key=lambda one: (not one.word.isalpha(), not one.word)))


_Nobody: Any = None
"""The snippets are read up to their first mistake, so nothing is ever reported there."""
