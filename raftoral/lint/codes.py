"""One page for each code of the lint: what it means, a wrong example and the right one.

The examples are whole functions; what they use (`charge`, `Order`, `Compute`, ...) is left out; the
test of the pages has it.
"""

from __future__ import annotations

from dataclasses import dataclass
from textwrap import dedent
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Explanation:
    """The page of one code. ``severity`` is ``error``, ``warning`` or ``run`` (raised at run)."""

    code: str
    title: str
    why: str
    wrong: str
    right: str
    severity: str = "error"


def explanations() -> Mapping[str, Explanation]:
    """Return the page of every code that Python workflows can get, in the order of the codes."""
    return _PAGES


def _page(
    code: str, title: str, why: str, wrong: str, right: str, severity: str = "error"
) -> Explanation:
    text = " ".join(why.split())
    return Explanation(code, title, text, dedent(wrong).strip(), dedent(right).strip(), severity)


_LIST: Final = (
    _page(
        "RPY01",
        "an effect is made and never yielded",
        """An effect is only a description. `Compute(...)` runs nothing, `status.set(...)` records
        nothing and a helper's generator has not begun until it is yielded; without `yield from` the
        step is silently left out.""",
        """
        @workflow("order", version=1)
        def order(order: Order) -> Flow[str]:
            status = yield from Checkpoint("status", "new")
            payment = yield from Compute("payment", charge, order.id, order.total)
            status.set("paid")
            return payment
        """,
        """
        @workflow("order", version=1)
        def order(order: Order) -> Flow[str]:
            status = yield from Checkpoint("status", "new")
            payment = yield from Compute("payment", charge, order.id, order.total)
            yield from status.set("paid")
            return payment
        """,
    ),
    _page(
        "RPY02",
        "something is yielded that is no effect",
        """The interpreter answers effects and refuses anything else. A list of effects is no
        effect (`Parallel` is), and neither is the generator of a helper (`yield from` runs it).""",
        """
        @workflow("mail", version=1)
        def mail(a: str, b: str) -> Flow[None]:
            yield [Compute("first", send, a), Compute("second", send, b)]
        """,
        """
        @workflow("mail", version=1)
        def mail(a: str, b: str) -> Flow[None]:
            yield from Parallel("both", Compute("first", send, a), Compute("second", send, b))
        """,
    ),
    _page(
        "RPY03",
        "a key comes twice in one scope",
        """A key and the scopes around it name a step in the history; replay finds the recorded
        answer by that name. Two steps of one name are refused when the second one is reached.""",
        """
        @workflow("mail", version=1)
        def mail(a: str, b: str) -> Flow[None]:
            yield from Compute("mail", send, a)
            yield from Compute("mail", send, b)
        """,
        """
        @workflow("mail", version=1)
        def mail(a: str, b: str) -> Flow[None]:
            yield from Compute("mail-a", send, a)
            yield from Compute("mail-b", send, b)
        """,
    ),
    _page(
        "RPY04",
        "a step in a loop has the same key in each turn",
        """The second turn would use the name of the first one again, and is refused. Open a scope
        with a name of its own for each turn, or take the items at once with `ForEach`.""",
        """
        @workflow("mail", version=1)
        def mail(texts: list[str]) -> Flow[None]:
            for text in texts:
                yield from Compute("mail", send, text)
        """,
        """
        @workflow("mail", version=1)
        def mail(texts: list[str]) -> Flow[None]:
            for n, text in enumerate(texts):
                with scope(f"text-{n}"):
                    yield from Compute("mail", send, text)
        """,
    ),
    _page(
        "RPY05",
        "an activity is called directly",
        """An activity acts on the world. Called inside of a workflow it would act on every node and
        again in each replay, and its result would be in no history.""",
        """
        @workflow("order", version=1)
        def order(order: Order) -> Flow[str]:
            payment = charge(order.id, order.total)
            yield from Log(payment)
            return payment
        """,
        """
        @workflow("order", version=1)
        def order(order: Order) -> Flow[str]:
            payment = yield from Compute("payment", charge, order.id, order.total)
            yield from Log(payment)
            return payment
        """,
    ),
    _page(
        "RPY06",
        "async code in a workflow",
        """A workflow is a plain generator that is advanced by recorded answers; there is no event
        loop inside, so nothing can be awaited. Activities may be async.""",
        """
        @workflow("page", version=1)
        def page(url: str) -> Flow[str]:
            async def get() -> str:
                return url
            text = get()
            yield from Log("got it")
            return text
        """,
        """
        @workflow("page", version=1)
        def page(url: str) -> Flow[str]:
            text = yield from Compute("text", fetch, url)
            yield from Log("got it")
            return text
        """,
    ),
    _page(
        "RPY10",
        "the clock is read",
        """A replay happens later and on another machine, so a clock gives another answer there, and
        a decision that rests on it goes another way. `Now` reads the group's clock once and records
        it; `Sleep` waits without holding anything.""",
        """
        @workflow("offer", version=1)
        def offer(order: Order, until: datetime) -> Flow[bool]:
            yield from Log("an offer")
            return datetime.now(UTC) < until
        """,
        """
        @workflow("offer", version=1)
        def offer(order: Order, until: datetime) -> Flow[bool]:
            yield from Log("an offer")
            now = yield from Now()
            return now < until
        """,
    ),
    _page(
        "RPY11",
        "chance",
        """Random numbers and random ids differ in each replay. `Random` and `Uuid` are thrown once
        and recorded.""",
        """
        @workflow("ticket", version=1)
        def ticket(name: str) -> Flow[str]:
            number = str(uuid4())
            yield from Compute("mail", send, number)
            return number
        """,
        """
        @workflow("ticket", version=1)
        def ticket(name: str) -> Flow[str]:
            number = yield from Uuid()
            yield from Compute("mail", send, number)
            return number
        """,
    ),
    _page(
        "RPY12",
        "input, output, or the process around",
        """Files, sockets, the environment and the terminal belong to one machine at one moment.
        Work with them in an activity, whose result is recorded; write lines with `Log`.""",
        """
        @workflow("page", version=1)
        def page(url: str) -> Flow[str]:
            text = requests.get(url).text
            yield from Log("got it")
            return text
        """,
        """
        @workflow("page", version=1)
        def page(url: str) -> Flow[str]:
            text = yield from Compute("text", fetch, url)
            yield from Log("got it")
            return text
        """,
    ),
    _page(
        "RPY13",
        "threads, tasks and event loops",
        """What runs beside the workflow finishes in an order that no replay repeats. `Parallel`,
        `Race` and `ForEach` run steps at once, and the log decides their order for every node.""",
        """
        @workflow("pages", version=1)
        def pages(urls: list[str]) -> Flow[list[str]]:
            yield from Log("begin")
            return asyncio.run(asyncio.gather(*[fetch.function(url) for url in urls]))
        """,
        """
        def one(url: str) -> Flow[str]:
            return (yield from Compute("page", fetch, url))

        @workflow("pages", version=1)
        def pages(urls: list[str]) -> Flow[list[str]]:
            yield from Log("begin")
            return (yield from ForEach("pages", urls, one))
        """,
    ),
    _page(
        "RPY14",
        "a module that nobody has looked into",
        """The lint reads your project; of other modules it knows which ones always give the same
        answer (`decimal`, `json`, `re`, ...). Any other may read a clock, and may answer differently
        in its next release. Call it in an activity, or vouch for it where it is imported.""",
        """
        import geometry

        @workflow("route", version=1)
        def route(a: str, b: str) -> Flow[str]:
            yield from Log("a route")
            return geometry.shortest(a, b)
        """,
        """
        import geometry  # raftoral: allow RPY14 because it is pure arithmetic and pinned

        @workflow("route", version=1)
        def route(a: str, b: str) -> Flow[str]:
            yield from Log("a route")
            return geometry.shortest(a, b)
        """,
    ),
    _page(
        "RPY15",
        "a forbidden name was used at run",
        """Every workflow runs with a copy of its module's names in which clocks, chance, input and
        output are replaced by objects that raise this error. It catches what the lint cannot see in
        the text. It is no sandbox: it stops mistakes, not malice.""",
        """
        @workflow("late", version=1)
        def late(name: str) -> Flow[float]:
            yield from Log(name)
            return getattr(time, name)()
        """,
        """
        @workflow("late", version=1)
        def late(name: str) -> Flow[datetime]:
            yield from Log(name)
            return (yield from Now())
        """,
        severity="run",
    ),
    _page(
        "RPY16",
        "a module variable that is no constant",
        """A variable that the program changes, or that is made from a clock or the environment, may
        have another value when the run is replayed. Constants are assigned once, to values that
        cannot change; a list or a dict counts as one if its name is written in capitals (or declared
        `Final`) and nothing in the file changes it.""",
        """
        rates = {"EUR": 1}

        def learn(name: str, rate: int) -> None:
            rates[name] = rate

        @workflow("price", version=1)
        def price(name: str) -> Flow[int]:
            yield from Log(name)
            return rates[name]
        """,
        """
        RATES = {"EUR": 1}

        @workflow("price", version=1)
        def price(name: str) -> Flow[int]:
            yield from Log(name)
            return RATES[name]
        """,
    ),
    _page(
        "RPY17",
        "`global` or `nonlocal`",
        """A run is replayed many times and on several nodes; a variable outside of it would be
        changed each time. What a run has to remember is its own variables and its checkpoints.""",
        """
        done = 0

        @workflow("count", version=1)
        def count(name: str) -> Flow[None]:
            global done
            done += 1
            yield from Log(name)
        """,
        """
        @workflow("count", version=1)
        def count(name: str) -> Flow[None]:
            done = yield from Checkpoint("done", 0)
            yield from done.set(done.get() + 1)
            yield from Log(name)
        """,
    ),
    _page(
        "RPY18",
        "the order of a set",
        """Sets of text are ordered by hashes, which Python salts anew in each process. Whatever
        depends on that order differs between nodes: put it in order first.""",
        """
        @workflow("labels", version=1)
        def labels(order: Order) -> Flow[None]:
            for tag in order.tags:
                yield from Log(tag)
        """,
        """
        @workflow("labels", version=1)
        def labels(order: Order) -> Flow[None]:
            for tag in sorted(order.tags):
                yield from Log(tag)
        """,
    ),
    _page(
        "RPY19",
        "`id` and `hash`",
        """An address and a salted hash are other numbers in each process.""",
        """
        @workflow("shard", version=1)
        def shard(name: str) -> Flow[int]:
            yield from Log(name)
            return hash(name) % 8
        """,
        """
        import hashlib

        @workflow("shard", version=1)
        def shard(name: str) -> Flow[int]:
            yield from Log(name)
            return hashlib.sha256(name.encode()).digest()[0] % 8
        """,
    ),
    _page(
        "RPY20",
        "a float is written as text",
        """The last digits of a float depend on how the machine worked it out (the mathematics
        library, fused operations), and formatting turns such a digit into other text. Amounts belong
        in `Decimal` or in whole units.""",
        """
        @workflow("weigh", version=1)
        def weigh(order: Order) -> Flow[str]:
            yield from Log("weighed")
            return f"{order.weight:.2f} kg"
        """,
        """
        @workflow("weigh", version=1)
        def weigh(order: Order) -> Flow[str]:
            yield from Log("weighed")
            return f"{order.total:.2f} EUR"
        """,
        severity="warning",
    ),
    _page(
        "RPY21",
        "everything is caught",
        """A cancelled run gets `Cancelled` thrown at its step, and a replay that is dropped gets
        `GeneratorExit`. A handler for everything swallows both, and the run cannot be cancelled any
        more. One that raises again at its end is fine.""",
        """
        @workflow("pay", version=1)
        def pay(order: Order) -> Flow[str]:
            try:
                return (yield from Compute("payment", charge, order.id, order.total))
            except:
                return "not paid"
        """,
        """
        @workflow("pay", version=1)
        def pay(order: Order) -> Flow[str]:
            try:
                return (yield from Compute("payment", charge, order.id, order.total))
            except WorkflowFailed:
                return "not paid"
        """,
    ),
    _page(
        "RPY22",
        "a mutable default argument",
        """The default of a parameter is made once for the whole process. A run that adds to it
        leaves that behind for the next run, and for its own replay.""",
        """
        @workflow("notes", version=1)
        def notes(text: str, seen: list[str] = []) -> Flow[list[str]]:
            seen.append(text)
            yield from Log(text)
            return seen
        """,
        """
        @workflow("notes", version=1)
        def notes(text: str, seen: tuple[str, ...] = ()) -> Flow[list[str]]:
            yield from Log(text)
            return [*seen, text]
        """,
    ),
    _page(
        "RPY23",
        "a comment that allows without a reason",
        """`# raftoral: allow CODE because REASON` says that you know better; the reason is for whoever
        reads it next. Without one, or misspelt, the comment allows nothing.""",
        """
        @workflow("offer", version=1)
        def offer(name: str) -> Flow[None]:
            yield from Log(name)
            time.monotonic()  # raftoral: allow RPY10
        """,
        """
        @workflow("offer", version=1)
        def offer(name: str) -> Flow[None]:
            yield from Log(name)
            time.monotonic()  # raftoral: allow RPY10 because the answer is thrown away
        """,
    ),
    _page(
        "RPY24",
        "a comment that allows what is not there",
        """The comment outlived what it allowed, and would hide the next mistake.""",
        """
        @workflow("offer", version=1)
        def offer(name: str) -> Flow[None]:
            yield from Log(name)  # raftoral: allow RPY10 because it once read a clock
        """,
        """
        @workflow("offer", version=1)
        def offer(name: str) -> Flow[None]:
            yield from Log(name)
        """,
        severity="warning",
    ),
    _page(
        "RPY25",
        "no Python",
        """The file cannot be read as Python, so no workflow in it can be checked.""",
        """
        @workflow("offer", version=1)
        def offer(name: str) -> Flow[None]
            yield from Log(name)
        """,
        """
        @workflow("offer", version=1)
        def offer(name: str) -> Flow[None]:
            yield from Log(name)
        """,
    ),
)

_PAGES: Final = {page.code: page for page in _LIST}
