"""Programs that are built to hurt, each tried in a process of its own with little time and memory.

``python -m tests.lang.bombs`` prints one line of JSON a bomb: what came of it.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from typing import Final

from raftoral.errors import RaftoralError
from raftoral.lang.compile import Source, compile_source
from raftoral.lang.render import render_all

SECONDS: Final = 1
MEGABYTES: Final = 256

_W = "workflow w version 1 () {"


def _names(count: int, form: str, between: str = " ") -> str:
    return between.join(form.format(n) for n in range(count))


def _doubling(first: str, form: str, count: int = 60) -> str:
    lines = [f"const A0 = {first}"]
    lines += [f"const A{n + 1} = {form.format(f'A{n}')}" for n in range(count)]
    return "\n".join(lines)


COMPILED: Final[dict[str, tuple[str, str]]] = {
    # nesting
    "blocks": (_W + "if true {" * 120 + "}" * 121, "RWF0403"),
    "open blocks": ((_W + "\n") * 250, "RWF0004"),
    "braces": ("{" * 250, "RWF0001"),
    "parentheses": (f"const A = {'(' * 250}1{')' * 250}", ""),
    "lists": (f"const A = {'[' * 250}1{']' * 250}", "RWF0403"),
    "types": (f"record R {{ a: {'list<' * 9_500}int{'>' * 9_500} }}", "RWF0403"),
    "not": (f"const A = {'not ' * 29_000}true", "RWF0403"),
    "minus": (f"const A = {'-' * 29_000}1", "RWF0403"),
    "members": (f"fn f(x: int) -> int {{ return x{'.a' * 14_500} }}", "RWF0403"),
    "calls": (f"const A = {'len(' * 240}1{')' * 240}", "RWF0403"),
    "patterns": (
        "record R0 { x: int }\n"
        + _names(40, "record S{0} {{ x: bool }}", "\n")
        + "\nworkflow w version 1 (r: R0) { match r { case "
        + "R0(x: " * 240
        + "1"
        + ")" * 240
        + ' { log "a" } case _ { log "b" } } }',
        "RWF0403",
    ),
    # chains
    "sum": (f"const A = {'1 + ' * 14_500}1", "RWF0403"),
    "and": (f'{_W} if {"true and " * 14_000}true {{ log "x" }} }}', "RWF0403"),
    "choices": (f"const A = {'if true then 1 else ' * 5_500}1", "RWF0403"),
    "else if": (f"{_W} if true {{ }} {'else if true { } ' * 4_000} }}", ""),
    "coalesce": (f"fn f(x: int?) -> int {{ return {'x ?? ' * 9_500}1 }}", "RWF0403"),
    "functions": (
        "\n".join(f"fn g{n}(x: int) -> int {{ return g{n + 1}(x) }}" for n in range(1_400))
        + "\nfn g1400(x: int) -> int { return x }",
        "RWF0403",
    ),
    "records": (
        "\n".join(f"record R{n} {{ r: R{n + 1} }}" for n in range(3_000))
        + "\nrecord R3000 { x: int }",
        "",
    ),
    "constants": (
        "\n".join(f"const A{n} = A{n + 1}" for n in range(5_000)) + "\nconst A5000 = 1",
        "RWF0403",
    ),
    "constants of records": (
        "\n".join(f"record R{n} {{ x: int = R{n + 1}().x }}" for n in range(2_000))
        + "\nrecord R2000 { x: int = 1 }",
        "RWF0403",
    ),
    "holders of themselves": (
        "\n".join(f"error E{n} {{ x: int = E{n}().x }}" for n in range(2_000)),
        "RWF0302",
    ),
    # size
    "words": ("x " * 60_000, "RWF0404"),
    "brackets": ("[" * 400 + "]" * 400, "RWF0403"),
    "source": ("# " + "x" * 300_000, "RWF0404"),
    "name": ("x" * 250_000, "RWF0404"),
    "integer": (f"const A = {'9' * 250_000}", "RWF0008"),
    "decimal": (f"const A = 0.{'9' * 250_000}", "RWF0008"),
    "money": (f"const A = {'9' * 250_000}EUR", "RWF0008"),
    "duration": (f"const A = {'9w' * 120_000}", "RWF0008"),
    "text": (f'const A = "{"x" * 250_000}"', "RWF0218"),
    "escapes": (f'const A = "{chr(92)}{"q" + chr(92)}{("q" + chr(92)) * 100_000}q"', "RWF0007"),
    "holes": (f'const A = "{"{a}" * 28_000}"', "RWF0201"),
    "map": (f"const A = {{{_names(7_200, 'k{0}: 1', ', ')}}}", "RWF0218"),
    "arguments": (f"const A = max({_names(14_500, '1', ', ')})", "RWF0204"),
    "statements": (_W + 'log "x" ' * 9_800 + "}", ""),
    "parameters": (f"fn f({_names(7_000, 'p{0}: int', ', ')}) -> int {{ return 1 }}", ""),
    "enum": (
        f"enum E {{ {_names(3_400, 'C{0}')} }}\n"
        f"workflow w version 1 (e: E) {{ match e {{ {_names(3_400, 'case E.C{0} {{ }}')} }} }}",
        "RWF0403",
    ),
    # what grows by itself
    "doubled texts": (_doubling('"x"', '"{{{0}}}{{{0}}}"'), "RWF0218"),
    "doubled lists": (_doubling("[1]", "[{0}, {0}]"), "RWF0218"),
    "doubled sums": (_doubling("1", "{0} + {0}"), ""),
    "doubled joins": (_doubling("[1]", "{0} + {0}"), "RWF0218"),
    "range": ("const A = [[x for x in range(100_000)] for y in range(100_000)]", "RWF0218"),
    "product": (
        "const A = [x for x in range(10_000) if sum(y for y in range(10_000)) > 0]",
        "RWF0218",
    ),
    "copies": (
        'const A = "' + "x" * 60_000 + '"\n' + _W + 'log "{A}" ' * 7_000 + "}",
        "RWF0404",
    ),
    "defaults": (
        'record R { a: string = "'
        + "x" * 60_000
        + '" }\n'
        + _W
        + "let x = R() " * 1
        + "log text(["
        + "R(), " * 7_000
        + "]) }",
        "RWF0404",
    ),
    "cover": (
        f"record R {{ {_names(24, 'b{0}: bool')} }}\nworkflow w version 1 (r: R) {{ match r {{ "
        + " ".join(
            f"case R(b{n}: true, b{(n * 7 + 5) % 24}: false) {{ }} case R(b{n}: false, b{(n * 5 + 3) % 24}: true) {{ }}"
            for n in range(24)
        )
        + " } }",
        "RWF0403",
    ),
    # words
    "unknown names": (_W + _names(12_000, "log nme{0} ") + "}", "RWF0201"),
    "near names": (
        _W + _names(2_000, 'let name{0} = "a" ') + _names(2_000, "log nmae{0} ") + "}",
        "RWF0201",
    ),
    "mistakes": (_W + "\n" + "  let = 1\n" * 9_500 + "}", "RWF0001"),
    "letters": ("".join(chr(0x400 + n % 250) + " " for n in range(28_000)), "RWF0002"),
    "signs": ("$ " * 29_000, "RWF0002"),
    "quotes": ('"' * 14_000, "RWF0001"),
    "open text": ('const A = """' + "x\n" * 100_000, "RWF0002"),
    "hidden": ("# \u202e\n" * 40_000, "RWF0002"),
}
"""Name to a source and a code that is among what is said about it; empty for any."""

_JSON = 'var x: json = ["0123456789"] var n = 0 '
RUN: Final[dict[str, str]] = {
    "no end": "var n = 0 while true max 1_000_000_000 { n = n + 1 }",
    "doubled text": 'var s = "ab" while true max 100 { s = s + s }',
    "doubled list": "var s = [1] while true max 100 { s = s + s }",
    "doubled value, shown": _JSON + "while n < 64 max 64 { x = [x, x] n = n + 1 } log text(x)",
    "doubled value, compared": _JSON
    + "var y: json = x while n < 64 max 64 { x = [x, x] y = [y, y] n = n + 1 } log text(x == y)",
    "doubled value, hashed": _JSON + "while n < 64 max 64 { x = [x, x] n = n + 1 } log hash(x)",
    "doubled value, encoded": _JSON
    + "while n < 64 max 64 { x = [x, x] n = n + 1 } log encode_json(x)",
    "doubled value, decoded": _JSON
    + "while n < 64 max 64 { x = [x, x] n = n + 1 } let d = decode(json, x) log text(d)",
    "doubled value, kept": _JSON + "while n < 64 max 64 { x = [x, x] n = n + 1 } checkpoint c = x",
    "deep value, shown": _JSON + "while n < 9_000 max 9_000 { x = [x] n = n + 1 } log text(x)",
    "deep value, hashed": _JSON + "while n < 9_000 max 9_000 { x = [x] n = n + 1 } log hash(x)",
    "deep value, kept": _JSON + "while n < 9_000 max 9_000 { x = [x] n = n + 1 } checkpoint c = x",
    "large shown often": "let xs = range(30_000) while true max 1_000_000 { let s = text(xs) }",
    "sorted often": "let xs = range(90_000) while true max 1_000_000 { let s = sort(xs) }",
    "joined": 'let xs = ["{x}" for x in range(50_000)] let s = join(xs, join(xs, "-"))',
    "replaced": 'var s = "a" while true max 100 { s = replace(s, "a", "aaaaaaaa") }',
    "squared": "let xs = range(100_000) let ys = [sum(x * y for x in xs) for y in xs]",
    "put": 'var m = {a: 1} for x in range(100_000) { m = {...m, "{x}": x} }',
    "search": "let xs = range(100_000) let n = count(x in xs for x in xs)",
}
"""Name to the statements of a workflow that must come to a failure with a name."""


def compiled(name: str) -> dict[str, object]:
    """Return what is said about one bomb."""
    text, _ = COMPILED[name]
    found = compile_source(Source("x.rwf", text))
    shown = render_all(found.diagnostics, found.source)
    return {"codes": sorted({one.code for one in found.diagnostics}), "said": len(shown)}


def run(name: str) -> dict[str, object]:
    """Return how the run of one bomb ended."""
    from tests.lang.worlds import history

    last = history(f"workflow w version 1 () {{ {RUN[name]} }}")[-1]
    return {"ended": last[:200]}


def _tried(kind: str, name: str) -> dict[str, object]:
    """Try one bomb in a child of this process, which has everything loaded."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        size = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()  # noqa: SIM115, PTH123
        limit = size + MEGABYTES * 2**20
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        refused = kind == "compiled" and COMPILED[name][1] != ""
        seconds = SECONDS if refused else 4 * SECONDS  # what is fine is compiled and laid out
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
        try:
            found = compiled(name) if kind == "compiled" else run(name)
        except (RaftoralError, Exception, MemoryError) as error:  # what no bomb may do
            found = {"raised": f"{type(error).__name__}: {error}"[:300]}
        os.write(write, json.dumps(found).encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        text = pipe.read()
    _, status = os.waitpid(child, 0)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    found = json.loads(text) if text else {"died": os.waitstatus_to_exitcode(status)}
    return {"kind": kind, "name": name, "seconds": used.ru_utime + used.ru_stime, **found}


def main() -> None:
    """Try all bombs, or those whose names are given."""
    from tests.lang.worlds import history

    compile_source(Source("x.rwf", "const A = $"))
    history('workflow w version 1 () { log "warm" }')
    before = 0.0
    for kind, names in (("compiled", COMPILED), ("run", RUN)):
        for name in names:
            if len(sys.argv) > 1 and name not in sys.argv[1:]:
                continue
            found = _tried(kind, name)
            total = float(str(found["seconds"]))
            found["seconds"], before = round(total - before, 2), total
            print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
