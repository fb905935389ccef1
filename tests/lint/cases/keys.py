"""Keys that come twice, and steps in loops."""

from raftoral import Checkpoint, Compute, Flow, ForEach, Log, Parallel, Saga, Sleep, scope, workflow


def work(name: str) -> str:
    return name


def helper(name: str) -> Flow[str]:
    with scope("deep"):
        yield from Compute("a", work, name)
    for n in range(3):
        with scope(f"{n}"):
            yield from Compute("b", work, name)
    if name:
        return (yield from Compute("c", work, name))
    return (yield from Compute("d", work, name))


@workflow("twice", version=1)
def twice(name: str, flag: bool) -> Flow[None]:
    yield from Compute("a", work, name)
    yield from Checkpoint("a", name)  ### RPY03: the step `a` comes a second time
    if flag:
        yield from Compute("b", work, name)
        return
    yield from Compute("b", work, name)
    match name:
        case "x":
            yield from Compute("c", work, name)
        case _:
            yield from Compute("c", work, name)
    yield from Sleep("1s", key="c")  ### RPY03: the step `c` comes a second time
    try:
        yield from Compute("d", work, name)
    except ValueError:
        yield from Compute("d", work, name)  ### RPY03: the step `d` comes a second time
    finally:
        yield from Log("done", key="d")  ### RPY03: the step `d`
    with scope("s"):
        yield from Compute("a", work, name)
        yield from Compute("a", work, name)  ### RPY03: the step `a`
    with scope("s"):
        yield from Compute("a", work, name)  ### RPY03: the step `a`
    made = Compute("e", work, name)
    yield from made
    yield from Compute("e", work, name)  ### RPY03: the step `e`
    text = (yield from Compute("f", work, name)) + (yield from Compute("f", work, name))  ### RPY03: the step `f`
    for n in range(2):
        with scope(f"turn-{n}"):
            yield from Compute("a", work, name)
            yield from Compute("a", work, name)  ### RPY03: the step `a`
    for n in range(2):
        with scope(f"turn-{n}"):
            yield from Compute("a", work, name)


@workflow("calls", version=1)
def calls(name: str) -> Flow[None]:
    yield from helper(name)
    yield from helper(name)  ### RPY03: the step `deep/a` of `helper` comes
    yield from Parallel("both", helper(name), helper(name))
    yield from Parallel("both", helper(name))  ### RPY03: the step `both`


@workflow("loops", version=1)
def loops(names: list[str]) -> Flow[None]:
    for name in names:
        yield from Compute("a", work, name)  ### RPY04: the step `a` has the same key in each turn
        yield from Compute(None, work, name)
        yield from Compute(f"a-{name}", work, name)
        yield from ForEach("all", names, helper)  ### RPY04: the step `all`
    while True:
        yield from Saga(helper("x"))  ### RPY04: the step `deep/a` of `helper` has
        with scope("literal"):
            yield from Compute("b", work, "x")  ### RPY04: the step `b`
        if names:
            break
    for name in names:
        yield from Compute("once", work, name)
        break
    while names:
        yield from Compute("first", work, "x")  ### RPY04: the step `first`
        if len(names) > 3:
            continue
        return
