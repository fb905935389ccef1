"""Programs made by chance, each in two languages: a `.rwf` text and a Python generator.

What runs both is one engine, so their histories must be the same, event by event. The Python side
keeps all values in a map ``v``, which a branch copies, as the language says that branches do.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from raftoral import (
    Call,
    Callback,
    Checkpoint,
    Compute,
    ForEach,
    Log,
    Parallel,
    Race,
    Receive,
    Registry,
    Restart,
    Saga,
    Sleep,
    Start,
    Update,
    Workflow,
    workflow,
)
from raftoral.errors import WorkflowFailed
from raftoral.replay.effects import activity, scope, undo_now

if TYPE_CHECKING:
    from collections.abc import Callable

HEAD: Final = """
error Bad { x: int }
activity a.b(x: int) -> int raises Bad timeout 1m
activity a.undo(x: int) timeout 1m
fn f(n: int) -> int {
  var t = 0
  for i in range(3) { t = t + n * i }
  return t % 97
}
fn ended(one: outcome<int>) -> int {
  match one {
    case outcome.Completed(value) { return value }
    case outcome.Failed(name, message) { return len(name) * 1000 + len(message) }
    case outcome.Unfinished { return 7 }
  }
}
workflow child version 1 (n: int) -> int raises Bad {
  require n % 4 != 3 else Bad(x: n)
  sleep 1s
  return n + 1
}
"""


@activity("a.b")
def work(x: int) -> int:
    """Stand for the activity; tests mock it."""
    raise NotImplementedError


@activity("a.undo")
def undo(x: int) -> None:
    """Stand for the activity that takes work back."""
    raise NotImplementedError


def bad(x: int) -> WorkflowFailed:
    """Return the error of both sides."""
    return WorkflowFailed("Bad", details={"x": x})


def given(outcomes: Any, least: int | None) -> list[Any]:
    """Return what tolerant branches gave, and none for the others; as the reference says."""
    if outcomes.reason == "too many failures" or (
        least is not None and len(outcomes.values()) < least
    ):
        outcomes.raise_first()
        raise WorkflowFailed("Failed", f"{len(outcomes.values())} branches are not enough")
    return [each.value if each.status == "done" else None for each in outcomes]


def ended(one: Any) -> int:
    """Return what the function of that name in the head returns."""
    if one.status == "failed":
        return len(one.error.name) * 1000 + len(one.error.message)
    return int(one.value) if one.status == "done" else 7


def f(n: int) -> int:
    """Return what the pure function of the head returns."""
    return sum(n * i for i in range(3)) % 97


@dataclass(frozen=True)
class Around:
    """What a block may use: names of values, and the ways that lead out of it."""

    names: tuple[str, ...]
    cells: tuple[str, ...] = ()
    own: tuple[str, ...] = ()
    """Variables and cells that may be assigned here."""
    loop: bool = False
    saga: bool = False
    inner: bool = False
    """In Python this is the generator of a saga: ways out go through its result."""
    ending: str = "return"
    """What leaves with a value: return, give, or nothing at all."""
    turns: list[str] = field(default_factory=list)
    """The variables of the `while` loops of this scope that are numbered."""

    def scoped(self, **changes: Any) -> Around:
        """Return the same for a scope of its own."""
        return replace(self, turns=[], **changes)


Code = tuple[list[str], list[str]]
"""The lines of a piece in both languages."""


def indented(lines: list[str]) -> list[str]:
    """Return the lines one level deeper."""
    return [f"  {line}" for line in lines]


class Pair:
    """One program; ``choose(n)`` gives a number below n."""

    def __init__(self, choose: Callable[[int], int], size: int = 40) -> None:
        self.choose = choose
        self.left = size
        self.count = 0
        self.effects = 0
        self.functions: list[str] = []
        self.scopes: list[list[str]] = []
        """Which loops are numbered together, known by their variables."""
        around = Around(("n", "round"))
        body, python = self.block(around, ending=True, top=True)
        last = self.maybe_restart(body, python)
        head = "workflow w version 1 (n: int, round: int = 0) -> int raises Bad { signal s(x: int) update u(x: int) -> int"
        self.text = "\n".join([HEAD, head, *indented(last[0]), "}"]) + "\n"
        main = ["def w(v):", "  yield from ()", *indented(last[1])]
        self.python = self.numbered("\n".join([*self.functions, *main]) + "\n")

    def numbered(self, python: str) -> str:
        """Return the twin with its loops numbered as they stand in the text, not as they were made."""
        for names in self.scopes:
            in_order = sorted(names, key=lambda name: self.text.index(f"while {name} <"))
            for number, name in enumerate(in_order):
                python = python.replace(f"while#<{name}>", f"while#{number}")
        return python

    def maybe_restart(self, body: list[str], python: list[str]) -> Code:
        """Put a new beginning in front of a body, sometimes."""
        if self.choose(6):
            return body, python
        return (
            ["if round < 1 { restart with (n: n + 1, round: round + 1) }", *body],
            [
                'if v["round"] < 1:',
                '  yield from Restart(n=v["n"] + 1, round=v["round"] + 1)',
                *python,
            ],
        )

    # -------------------------------------------------------------- pieces
    def one(self, options: Any) -> Any:
        """Return one of several."""
        return options[self.choose(len(options))]

    def name(self, letter: str) -> str:
        """Return a name that is nowhere else."""
        self.count += 1
        return f"{letter}{self.count}"

    def expr(self, a: Around, depth: int = 0) -> tuple[str, str]:
        """Return an int expression."""
        kind = self.choose(3 if depth > 2 else 8)
        if kind == 0:
            number = str(self.choose(9))
            return number, number
        if kind < 3:
            name = self.one(a.names + a.cells)
            return name, f'v["{name}"].value' if name in a.cells else f'v["{name}"]'
        left, left_py = self.expr(a, depth + 1)
        if kind == 3:
            return f"f({left})", f"f({left_py})"
        if kind == 4:
            test, test_py = self.test(a, depth + 1)
            right, right_py = self.expr(a, depth + 1)
            return (
                f"(if {test} then {left} else {right})",
                f"({left_py} if {test_py} else {right_py})",
            )
        if kind == 5:
            i = self.name("j")
            return (
                f"sum({i} + 1 for {i} in range(3) if {i} != {left})",
                f"sum({i} + 1 for {i} in range(3) if {i} != {left_py})",
            )
        right, right_py = self.expr(a, depth + 1)
        operator = self.one(["+", "-", "*"])
        return f"(({left} {operator} {right}) % 97)", f"(({left_py} {operator} {right_py}) % 97)"

    def test(self, a: Around, depth: int = 0) -> tuple[str, str]:
        """Return a condition."""
        left, left_py = self.expr(a, depth + 1)
        right, right_py = self.expr(a, depth + 1)
        operator = self.one(["<", "<=", "==", "!=", ">", ">="])
        plain = f"{left} {operator} {right}", f"{left_py} {operator} {right_py}"
        if depth > 1 or self.choose(3):
            return plain
        more, more_py = self.test(a, depth + 1)
        word = self.one(["and", "or"])
        return f"({plain[0]}) {word} not ({more})", f"(({plain[1]}) {word} not ({more_py}))"

    # -------------------------------------------------------------- blocks
    def block(self, a: Around, *, ending: bool = False, top: bool = False) -> Code:
        """Return a few statements; one that leaves stands last, and must if ``ending``."""
        text: list[str] = []
        python: list[str] = []
        names, cells, own = a.names, a.cells, a.own
        for _ in range(5 + self.choose(4) if top else 1 + self.choose(3)):
            if self.left <= 0:
                break
            self.left -= 1
            here = replace(a, names=names, cells=cells, own=own)
            (lines, lines_py), new, kind = self.statement(here)
            text += lines
            python += lines_py
            if kind == "value":
                names = (*names, new)
            elif kind == "variable":
                names, own = (*names, new), (*own, new)
            elif kind == "cell":
                cells, own = (*cells, new), (*own, new)
        here = replace(a, names=names, cells=cells, own=own)
        if ending:
            lines, lines_py = self.leave(here, ending=True)
            text += lines
            python += lines_py
        elif not self.choose(6):
            # Only perhaps, since what follows a block that always leaves is never reached.
            test, test_py = self.test(here)
            lines, lines_py = self.leave(here, ending=False)
            if lines:
                text += [f"if {test} {{", *indented(lines), "}"]
                python += [f"if {test_py}:", *indented(lines_py)]
        return text or ["let unused = 0"], python or ["pass"]

    def leave(self, a: Around, *, ending: bool) -> Code:
        """Return a statement that leaves the block."""
        value, value_py = self.expr(a)
        kinds = ["give", "give"] if a.ending in ("return", "give") or ending else []
        if a.loop and not ending:
            kinds += ["break", "continue"]
        if a.ending == "final":
            return [], []
        if not ending:
            kinds.append("fail")
        match self.one(kinds):
            case "give":
                if a.ending.startswith("into "):
                    name = a.ending.removeprefix("into ")
                    return [f"give {value}"], [f'v["{name}"] = {value_py}']
                result = f'("out", {value_py})' if a.inner else value_py
                return [f"{a.ending} {value}"], [f"return {result}"]
            case "fail":
                return [f"fail Bad(x: {value})"], [f"raise bad({value_py})"]
            case word:
                return [str(word)], [str(word)]

    def statement(self, a: Around) -> tuple[Code, str, str]:
        """Return a statement, the name that it declares, and what that is."""
        flat = [self.let, self.var, self.cell, self.compute, self.compute, self.log, self.sleep,
                self.assign, self.assign, self.child, self.wait, self.callback]  # fmt: skip
        deep = [self.if_, self.match, self.for_, self.while_, self.try_, self.parallel, self.fan,
                self.race, self.saga, self.saga]  # fmt: skip
        if a.saga:
            flat += [self.undo, self.compute, self.compute, self.require]
        return self.one(flat + deep if self.left > 0 else flat)(a)

    # -------------------------------------------------------------- one step
    def let(self, a: Around) -> tuple[Code, str, str]:
        name = self.name("l")
        value, value_py = self.expr(a)
        return ([f"let {name} = {value}"], [f'v["{name}"] = {value_py}']), name, "value"

    def var(self, a: Around) -> tuple[Code, str, str]:
        name = self.name("m")
        value, value_py = self.expr(a)
        return ([f"var {name} = {value}"], [f'v["{name}"] = {value_py}']), name, "variable"

    def cell(self, a: Around) -> tuple[Code, str, str]:
        self.effects += 1
        name = self.name("c")
        value, value_py = self.expr(a)
        python = f'v["{name}"] = yield from Checkpoint("{name}", {value_py})'
        return ([f"checkpoint {name} = {value}"], [python]), name, "cell"

    def assign(self, a: Around) -> tuple[Code, str, str]:
        if not a.own:
            return self.log(a)
        name = self.one(a.own)
        value, value_py = self.expr(a)
        python = f'v["{name}"] = {value_py}'
        if name in a.cells:
            self.effects += 1
            python = f'yield from v["{name}"].set({value_py})'
        return ([f"{name} = {value}"], [python]), "", ""

    def log(self, a: Around) -> tuple[Code, str, str]:
        self.effects += 1
        value, value_py = self.expr(a)
        return ([f'log "is {{{value}}}"'], [f'yield from Log("is " + str({value_py}))']), "", ""

    def sleep(self, a: Around) -> tuple[Code, str, str]:
        self.effects += 1
        value, value_py = self.expr(a)
        text = f"sleep 1s * (({value}) % 5)"
        return ([text], [f"yield from Sleep(timedelta(seconds=({value_py}) % 5))"]), "", ""

    def require(self, a: Around) -> tuple[Code, str, str]:
        test, test_py = self.test(a)
        value, value_py = self.expr(a)
        python = [f"if not ({test_py}):", f"  raise bad({value_py})"]
        return ([f"require {test} else Bad(x: {value})"], python), "", ""

    def wait(self, a: Around) -> tuple[Code, str, str]:
        self.effects += 1
        name, got = self.name("m"), self.name("s")
        text = [
            f"var {name} = 0",
            f"await s as {got} timeout 2s else {{ }}",
            f"{name} = {got}?.x ?? 1",
        ]
        python = [
            f'{got} = yield from Receive("s").timeout("2s")',
            f'v["{name}"] = {got}["x"] if {got} else 1',
        ]
        return (text, python), name, "variable"

    def callback(self, a: Around) -> tuple[Code, str, str]:
        self.effects += 1
        name, opened, got = self.name("m"), self.name("k"), self.name("s")
        text = [
            f"var {name} = 0",
            f"callback {opened}: int timeout 2s",
            f"try {{ await {opened} as {got} {name} = {got} }} catch Timeout {{ }}",
        ]
        python = [
            f'v["{name}"] = 0',
            f'{opened} = yield from Callback("{opened}").timeout("2s")',
            "try:",
            f'  v["{name}"] = yield from {opened}.wait()',
            "except WorkflowFailed as too_late:",
            '  if too_late.name != "Timeout":',
            "    raise",
        ]
        return (text, python), name, "variable"

    def undo(self, a: Around) -> tuple[Code, str, str]:
        self.effects += 1
        return (["undo"], ["yield from undo_now()"]), "", ""

    def compute(self, a: Around, *, takes_back: bool = False) -> tuple[Code, str, str]:
        self.effects += 1
        name = self.name("y") if takes_back or self.choose(4) else ""
        value, value_py = self.expr(a)
        text = f"compute {name} = a.b({value})" if name else f"compute a.b({value})"
        python = f"Compute({name or None!r}, work, {value_py})"
        clauses, clauses_py = self.clauses(a)
        text += clauses
        python += clauses_py
        if takes_back or (a.saga and self.choose(2)):
            inside = replace(a, names=(*a.names, name)) if name else a
            back, back_py = self.expr(inside)
            text += f" compensate a.undo({back})"
            keep = f'v.__setitem__("{name}", r)' if name else "r"
            made = f'Compute(None, undo, {back_py}).timeout("1m")'
            python += f".undone_by(lambda r: ({keep}, {made})[1])"
        python = f"yield from {python}"
        return (
            ([text], [f'v["{name}"] = {python}' if name else python]),
            name,
            "value" if name else "",
        )

    def clauses(self, a: Around) -> tuple[str, str]:
        text, python = "", '.timeout("1m")'
        match self.choose(5):
            case 0:
                text += " retry 3 backoff 1s..4s on Bad"
                python += '.retry(3, first="1s", longest="4s", only=("Bad",))'
            case 1:
                text += " deadline 2s"
                python += '.deadline("2s")'
            case 2:
                value, value_py = self.expr(a)
                text += f' key "k-{{{value}}}"'
                python += f'.idempotency_key("k-" + str({value_py}))'
            case 3:
                text += " at_most_once"
                python += ".at_most_once()"
            case _:
                pass
        return text, python

    def child(self, a: Around) -> tuple[Code, str, str]:
        self.effects += 1
        value, value_py = self.expr(a)
        if self.choose(3) == 0:
            text = f"start child(n: {value}) close cancel"
            python = f'yield from Start(None, "child", n={value_py}).at(1).on_close("cancel")'
            return ([text], [python]), "", ""
        name = self.name("y")
        python = f'v["{name}"] = yield from Call("{name}", "child", n={value_py}).at(1)'
        return ([f"call {name} = child(n: {value})"], [python]), name, "value"

    # -------------------------------------------------------------- ways
    def if_(self, a: Around) -> tuple[Code, str, str]:
        test, test_py = self.test(a)
        then, then_py = self.block(a)
        text = [f"if {test} {{", *indented(then), "}"]
        python = [f"if {test_py}:", *indented(then_py)]
        if self.choose(2):
            other, other_py = self.block(a)
            text[-1] = "} else {"
            text += [*indented(other), "}"]
            python += ["else:", *indented(other_py)]
        return (text, python), "", ""

    def match(self, a: Around) -> tuple[Code, str, str]:
        value, value_py = self.expr(a)
        subject, bound = self.name("p"), self.name("l")
        text, python = [f"match {value} {{"], [f"{subject} = {value_py}"]
        inside = replace(a, names=(*a.names, bound))
        guard, guard_py = self.test(inside)
        cases = [
            ("case 0", f"{subject} == 0", a),
            ("case 1 | 2", f"{subject} in (1, 2)", a),
            (f"case {bound} if {guard}", guard_py, inside),
            ("case _", "True", a),
        ]
        word = "if"
        for case, test, around in cases:
            body, body_py = self.block(around)
            if around is inside:
                python += ["else:", f'  v["{bound}"] = {subject}', f"  if {test}:"]
                python += indented(indented(body_py))
            elif case == "case _":
                python += indented(["else:", *indented(body_py)])
            else:
                python += [f"{word} {test}:", *indented(body_py)]
            text += indented([f"{case} {{", *indented(body), "}"])
            word = "elif"
        return ([*text, "}"], python), "", ""

    def loop(self, a: Around, names: tuple[str, ...]) -> tuple[Code, bool]:
        before = self.effects
        code = self.block(a.scoped(names=a.names + names, loop=True))
        return code, self.effects > before

    def turn(self, stem: str, key: str, body: list[str]) -> list[str]:
        return [f'with scope("{stem}[" + str({key}) + "]"):', *indented(body)]

    def for_(self, a: Around) -> tuple[Code, str, str]:
        count, count_py = self.expr(a)
        index, item = self.name("i"), self.name("x")
        (body, body_py), scoped = self.loop(a, (index, item))
        by, by_py = self.one([("", f'v["{index}"]'), (f" by {item} * 2", f'v["{item}"] * 2')])
        j = self.name("j")
        source = f"[{j} + 1 for {j} in range({count} % 3 + 1)]"
        text = [f"for {index}, {item} in {source}{by} {{", *indented(body), "}"]
        python = [
            f"for {index}, {item} in enumerate([j + 1 for j in range({count_py} % 3 + 1)]):",
            f'  v["{index}"], v["{item}"] = {index}, {item}',
            *indented(self.turn(item, by_py, body_py) if scoped else body_py),
        ]
        return (text, python), "", ""

    def while_(self, a: Around) -> tuple[Code, str, str]:
        name, turn = self.name("m"), self.name("t")
        limit = self.choose(4)
        (body, body_py), scoped = self.loop(a, (name,))
        if scoped:
            if not a.turns:
                self.scopes.append(a.turns)
            a.turns.append(name)
        text = [
            f"var {name} = 0",
            f"while {name} < {limit} max {limit} {{",
            f"  {name} = {name} + 1",
        ]
        inside = [f'v["{name}"] += 1', *body_py]
        stem = f"while#<{name}>"
        python = [
            f'v["{name}"] = {turn} = 0',
            f'while v["{name}"] < {limit}:',
            f"  {turn} += 1",
            *indented(self.turn(stem, f"{turn} - 1", inside) if scoped else inside),
        ]
        return ([*text, *indented(body), "}"], python), name, "value"

    def try_(self, a: Around) -> tuple[Code, str, str]:
        body, body_py = self.block(a)
        text, python = ["try {", *indented(body), "}"], ["try:", *indented(body_py)]
        kind = self.choose(3)
        if kind != 0:
            error, field_ = self.name("e"), self.name("l")
            caught, caught_py = self.block(replace(a, names=(*a.names, field_)))
            text[-1] = f"}} catch Bad as {error} {{"
            text += [*indented([f"let {field_} = {error}.x", *caught]), "}"]
            python += [
                f"except WorkflowFailed as {error}:",
                f'  if {error}.name != "Bad":',
                "    raise",
                f'  v["{field_}"] = {error}.details["x"]',
                *indented(caught_py),
            ]
        if kind != 1:
            final, final_py = self.block(replace(a, loop=False, ending="final"))
            text[-1] = "} finally {"
            text += [*indented(final), "}"]
            python += ["finally:", *indented(final_py)]
        return (text, python), "", ""

    # -------------------------------------------------------------- branches
    def branch(self, a: Around, names: tuple[str, ...], *, races: bool, named: bool) -> Code:
        """Return the body of a branch, and the call of its generator."""
        around = a.scoped(
            names=a.names + names, own=(), loop=False, saga=a.saga or races, inner=False,
            ending="give" if named else "nothing",
        )  # fmt: skip
        function = self.name("b")
        body, body_py = self.block(around, ending=named)
        self.functions += [f"def {function}(v):", "  yield from ()", *indented(body_py)]
        return body, [function]

    def parallel(self, a: Around) -> tuple[Code, str, str]:
        self.effects += 1
        if a.ending == "final":
            return self.log(a)
        name = self.name("g")
        bound, bound_py, told = self.one(
            [
                ("", "", False),
                (" limit 1", ".limit(1)", False),
                (" outcomes", ".tolerate()", True),
                (" limit 1 tolerate 0 outcomes", ".tolerate(failures=0).limit(1)", True),
            ]
        )
        text = [f"parallel{bound} as {name} {{"]
        calls = []
        for key in ["one", "two", "three"][: 1 + self.choose(3)]:
            body, (function,) = self.branch(a, (), races=False, named=True)
            text += indented([f"branch {key} {{", *indented(body), "}"])
            calls.append(f"{key}={function}(dict(v))")
        total = self.name("l")
        text += ["}", f"let {total} = {f'ended({name}.one)' if told else f'{name}.one'}"]
        python = [
            f'{name} = yield from Parallel("{name}", {", ".join(calls)}){bound_py}',
            f'v["{total}"] = {f"ended([*{name}][0])" if told else f"""{name}["one"]"""}',
        ]
        return (text, python), total, "value"

    def fan(self, a: Around) -> tuple[Code, str, str]:
        self.effects += 1
        if a.ending == "final":
            return self.log(a)
        item, out, total = self.name("x"), self.name("o"), self.name("l")
        count, count_py = self.expr(a)
        body, (function,) = self.branch(a, (item,), races=False, named=True)
        bound, bound_py, least = self.one(
            [
                ("", "", None),
                (" limit 2", ".limit(2)", None),
                (" tolerate 1", ".tolerate(failures=1)", 0),
                (" tolerate 50%", ".tolerate(percent=50)", 0),
                (" min 1 tolerate 1", ".enough(1, failures=1)", 1),
                (" outcomes", ".tolerate()", -1),
                (" limit 1 min 2 outcomes", ".enough(2).limit(1)", -1),
                (" tolerate 0 outcomes", ".tolerate(failures=0)", -1),
            ]
        )
        text = [
            f"for {item} in range({count} % 3 + 1) by {item} + 5 parallel{bound} collect {out} {{",
            *indented(body), "}", f"let {total} = sum(",
        ]  # fmt: skip
        each = f"ForEach({out!r}, range({count_py} % 3 + 1), lambda j: {function}({{**v, {item!r}: j}}), by=lambda j: j + 5)"
        python = [f"{out} = yield from {each}{bound_py}"]
        if least == -1:
            text[-1] += f"ended(each) for each in {out})"
            python.append(f"{out} = [ended(each) for each in {out}]")
        elif least is None:
            text[-1] += f"{out})"
        else:
            text[-1] += f"each for each in {out} if each is not none)"
            python.append(f"{out} = given({out}, {least or None})")
        python.append(f'v["{total}"] = sum(each for each in {out} if each is not None)')
        return (text, python), total, "value"

    def race(self, a: Around) -> tuple[Code, str, str]:
        self.effects += 1
        if a.ending == "final":
            return self.log(a)
        name, got = self.name("r"), self.name("s")
        # What an arm does is not known behind the race.
        after, after_py = self.expr(a)
        arms = [f"after 1s * (({after}) % 4) {{"]
        inside = replace(a, loop=False, ending=f"into {name}", names=a.names)
        late, late_py = self.block(inside, ending=True)
        arms += [*indented(late), "}"]
        ways = [f"after=Sleep(timedelta(seconds=({after_py}) % 4))"]
        python_arms = [f'if {name}.name == "after":', *indented(late_py)]
        if self.choose(2):
            taken = self.name("l")
            on, on_py = self.block(replace(inside, names=(*a.names, taken)), ending=True)
            arms = [f"on s as {got} {{", *indented([f"let {taken} = {got}.x", *on]), "}", *arms]
            ways = ['s=Receive("s")', *ways]
            python_arms += [
                f'if {name}.name == "s":',
                f'  v["{taken}"] = {name}.value["x"]',
                *indented(on_py),
            ]
        if self.choose(2):
            wish, asked = self.name("s"), self.name("l")
            on, on_py = self.block(replace(inside, names=(*a.names, asked)), ending=True)
            head = f"on u as {wish} answer f({wish}.x) {{"
            arms = [head, *indented([f"let {asked} = {wish}.x", *on]), "}", *arms]
            ways = ['u=Update("u", handler=lambda p: f(p["x"]))', *ways]
            python_arms += [
                f'if {name}.name == "u":',
                f'  v["{asked}"] = {name}.value["x"]',
                *indented(on_py),
            ]
        if self.choose(2):
            body, (function,) = self.branch(a, (), races=True, named=True)
            arms += ["branch work {", *indented(body), "}"]
            ways.append(f"work={function}(dict(v))")
        text = [f"race as {name} {{", *indented(arms), "}"]
        python = [
            f"{name} = yield from Race({name!r}, {', '.join(ways)})",
            f'v["{name}"] = {name}.value if {name}.name == "work" else None',
            *python_arms,
        ]
        return (text, python), name, "value"

    def saga(self, a: Around) -> tuple[Code, str, str]:
        if a.ending == "final" or a.ending.startswith("into "):
            return self.log(a)
        function, out = self.name("b"), self.name("q")
        inside = replace(a, saga=True, inner=True, loop=False)
        (body, body_py), name, _ = self.compute(inside, takes_back=True)
        more, more_py = self.block(replace(inside, names=(*a.names, name)))
        body, body_py = body + more, body_py + more_py
        if self.choose(2):
            (more, more_py), _, _ = self.require(inside)
            body, body_py = body + more, body_py + more_py
        self.functions += [f"def {function}(v):", "  yield from ()", *indented(body_py)]
        python = [
            f"{out} = yield from Saga({function}(v))",
            f"if {out} is not None:",
            f"  return {out}" if a.inner else f"  return {out}[1]",
        ]
        text = ["saga {", *indented(body), "}"]
        if self.choose(2):
            return (text, python), "", ""
        text = ["try {", *indented(text), "} catch Bad { }"]
        caught = ["except WorkflowFailed as bad_one:", '  if bad_one.name != "Bad":', "    raise"]
        return (text, ["try:", *indented(python), *caught]), "", ""


def twin(python: str) -> Workflow[..., Any]:
    """Return the workflow that a Python text defines."""
    names: dict[str, Any] = {
        "Call": Call, "Callback": Callback, "Checkpoint": Checkpoint, "Compute": Compute, "ForEach": ForEach, "Log": Log,
        "Parallel": Parallel, "Race": Race, "Receive": Receive, "Restart": Restart, "Saga": Saga,
        "Sleep": Sleep, "Start": Start, "Update": Update, "WorkflowFailed": WorkflowFailed, "bad": bad,
        "ended": ended, "f": f,
        "given": given, "scope": scope, "timedelta": timedelta, "undo": undo, "undo_now": undo_now,
        "work": work,
    }  # fmt: skip
    exec(compile(python, "twin", "exec"), names)

    @workflow("w", version=1)
    def w(n: int, round: int = 0) -> Any:
        return (yield from names["w"]({"n": n, "round": round}))

    return w


def registry_of(python: str) -> Registry | None:
    """Return a registry with the twin; None if Python cannot nest so deep (20 blocks a function)."""
    try:
        return Registry(workflows=[twin(python)])
    except SyntaxError as error:
        if error.msg != "too many statically nested blocks":
            raise
        return None
