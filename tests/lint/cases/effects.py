"""Effects that are lost, and yields of no effect."""

import raftoral
from raftoral import Callback, Checkpoint, Compute, Flow, Log, Parallel, Saga, Sleep, activity, workflow


@activity("a.work")
def work(name: str) -> str:
    return name


async def fetch(name: str) -> str:
    return name


plain = activity("a.plain")(len)


def helper(name: str) -> Flow[str]:
    return (yield from Compute("helped", work, name))


@workflow("lost", version=1)
def lost(name: str) -> Flow[object]:
    status = yield from Checkpoint("status", "new")
    Compute("x", work, name)  ### RPY01: `Compute("x", work, name)` is made and never yielded
    Compute("y", work, name).retry(3).timeout("1s")  ### RPY01: `Compute("y", work, name).retry(3).timeout("1s")` is made
    status.set("old")  ### RPY01: `status.set("old")` is made and never yielded
    raftoral.Sleep("1s")  ### RPY01: `raftoral.Sleep("1s")`
    helper(name)  ### RPY01: the steps of `helper(name)` never run
    kept = Compute("z", work, name)  ### RPY01: `Compute("z", work, name)` is made
    if kept:
        pass
    text = helper(name)
    later = text  ### RPY01: the steps of `text` never run
    other = helper(name)  ### RPY01: the steps of `helper(name)` never run
    pending = yield from Callback("c", str)
    pending.wait()  ### RPY01: `pending.wait()` is made
    return Sleep("1s")  ### RPY01: `Sleep("1s")` is made


@workflow("wrong", version=1)
def wrong(name: str) -> Flow[object]:
    yield  ### RPY02: nothing is yielded here
    yield 1  ### RPY02: `1` is a value
    yield f"{name}"  ### RPY02: `f"{name}"` is a value
    yield Compute  ### RPY02: `Compute` is the class
    yield helper(name)  ### RPY02: `helper(name)` is a generator of effects
    yield Saga(helper(name))  ### RPY02: a saga is run by `yield from` ### RPY03: the step `helped` of `helper`
    yield [Log("a"), Log("b")]  ### RPY02: a list of effects is no effect
    yield from [Log("a"), helper("b")]  ### RPY02: a list of effects is no effect
    yield len(name)  ### RPY02: `len(name)` is a value
    yield ()  ### RPY02: `()` is a container
    yield from ()
    yield from []
    unknown = yield from Compute("x", "some.activity", name)
    yield unknown


@workflow("direct", version=1)
def direct(name: str) -> Flow[object]:
    yield from Log(name)
    text = work(name)  ### RPY05: the activity `work` is called directly
    size = plain(name)  ### RPY05: the activity `plain` is called directly
    more = fetch(name)  ### RPY06: `fetch` is async, and nothing awaits it
    return [work(one) for one in name]  ### RPY05: the activity `work`


@workflow("waits", version=1)
async def waits(name: str):  ### RPY06: `waits` is async
    await fetch(name)  ### RPY06: there is no event loop ### RPY06: `fetch` is async
    async for one in name:  ### RPY06: there is no event loop
        pass
