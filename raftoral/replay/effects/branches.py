"""Effects that run several branches at once: `Parallel`, `Race`, `ForEach`.

A branch is one effect or a generator of effects; it has scopes of its own, may read what is around
it and gives its result by returning. Which branch went first is decided by the order of the log
alone, so a group of branches replays equally everywhere, whatever the code's loop did.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Generic, TypeAlias, TypeVar, overload

from raftoral.errors import UsageError
from raftoral.replay.effects.base import Branch, Effect, Flow, check_key
from raftoral.replay.history import BRANCHES_MAX

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

T = TypeVar("T")
R = TypeVar("R")
A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
D = TypeVar("D")

ALL, RACE, BATCH = "all", "race", "batch"

DONE, FAILED, CANCELLED, NOT_BEGUN = "done", "failed", "cancelled", "not begun"

EVERY: Final = "all completed"
ENOUGH: Final = "enough successful"
TOO_MANY: Final = "too many failures"

Maker: TypeAlias = "Callable[[], Flow[Any]]"


@dataclass(frozen=True, slots=True)
class Plan:
    """What a group of branches is: their segments of path, how each is begun, when it is over.

    An `ALL` group is answered with a map if it is ``named``, with a list if it is ``listed``, else
    with a tuple. ``enough`` successes end a `BATCH`;
    more than ``failures`` failures, or more than ``percent`` of all branches, end it too.
    """

    key: str | None
    mode: str
    segments: tuple[str, ...]
    makers: tuple[Maker, ...]
    named: bool = False
    listed: bool = False
    limit: int | None = None
    enough: int | None = None
    failures: int | None = None
    percent: int | None = None


@dataclass(frozen=True, slots=True)
class Outcome(Generic[T]):
    """How one branch ended: ``status`` is done, failed, cancelled or not begun."""

    index: int
    name: str
    status: str
    value: T | None = None
    error: BaseException | None = None


@dataclass(frozen=True, slots=True)
class Outcomes(Generic[T]):
    """How all branches of a tolerant group ended, by index; ``reason`` is why the group ended.

    The reasons are ``"all completed"``, ``"enough successful"`` and ``"too many failures"``.
    """

    outcomes: tuple[Outcome[T], ...]
    reason: str

    def __iter__(self) -> Iterator[Outcome[T]]:
        """Go through the outcomes by index."""
        return iter(self.outcomes)

    def __len__(self) -> int:
        """Return how many branches there are, begun or not."""
        return len(self.outcomes)

    def of(self, status: str) -> list[Outcome[T]]:
        """Return the outcomes of that status, by index."""
        return [each for each in self.outcomes if each.status == status]

    def values(self) -> list[T]:
        """Return the results of the branches that are done, by index."""
        return [each.value for each in self.of(DONE)]  # type: ignore[misc]

    def errors(self) -> list[BaseException]:
        """Return the errors of the branches that failed, by index."""
        return [each.error for each in self.of(FAILED) if each.error is not None]

    def raise_first(self) -> None:
        """Raise the error of the first failed branch, if there is one."""
        for error in self.errors():
            raise error


@dataclass(frozen=True, slots=True)
class Won(Generic[T]):
    """The branch of a race that ended first."""

    index: int
    name: str
    value: T


class Group(Effect[T]):
    """A group of branches; see the classes below."""

    __slots__ = ("plan",)

    plan: Plan

    def limit(self, at_once: int) -> Group[T]:
        """Return this effect with at most ``at_once`` branches under way at a time."""
        if at_once < 1:
            raise UsageError(f"at least one branch goes on at a time, not {at_once}")
        return _group(replace(self.plan, limit=at_once))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.plan.key!r}, {len(self.plan.makers)} branches)"


class _Tolerant(Group[T], Generic[T, R]):
    """What `Parallel` and `ForEach` have in common: ``R`` is what one branch results in."""

    __slots__ = ()

    def tolerate(
        self, *, failures: int | None = None, percent: int | None = None
    ) -> Group[Outcomes[R]]:
        """Return this effect answered with all outcomes, whether they failed or not.

        It ends early once more than ``failures`` branches failed, or more than ``percent`` of all;
        without either every branch is waited for.
        """
        if failures is not None and failures < 0:
            raise UsageError(f"the number of tolerated failures is 0 or more, not {failures}")
        if percent is not None and not 0 <= percent <= 100:
            raise UsageError(f"a share of failures is 0 to 100 percent, not {percent}")
        return _group(replace(self.plan, mode=BATCH, failures=failures, percent=percent))

    def enough(
        self, successes: int, *, failures: int | None = None, percent: int | None = None
    ) -> Group[Outcomes[R]]:
        """Return this effect answered with all outcomes once ``successes`` branches are done.

        The others are cancelled then. ``failures`` and ``percent`` are as for `tolerate`.
        """
        if successes < 1:
            raise UsageError(f"at least one success is enough, not {successes}")
        tolerant = self.tolerate(failures=failures, percent=percent)
        return _group(replace(tolerant.plan, enough=successes))


class Parallel(_Tolerant[T, R], Generic[T, R]):
    """Run all branches at once; answered with their results.

    ``Parallel("got", flight(), hotel())`` is answered with a tuple, ``Parallel("got",
    flight=flight(), hotel=hotel())`` with a map; the steps are under ``got[0]`` and ``got/flight``.
    The first error cancels the other branches, waits until they have ended, and is raised.
    """

    __slots__ = ()

    @overload
    def __init__(self: Parallel[tuple[A], A], key: str | None, a: Branch[A], /) -> None: ...
    @overload
    def __init__(
        self: Parallel[tuple[A, B], A | B], key: str | None, a: Branch[A], b: Branch[B], /
    ) -> None: ...
    @overload
    def __init__(
        self: Parallel[tuple[A, B, C], A | B | C],
        key: str | None,
        a: Branch[A],
        b: Branch[B],
        c: Branch[C],
        /,
    ) -> None: ...
    @overload
    def __init__(
        self: Parallel[tuple[A, B, C, D], A | B | C | D],
        key: str | None,
        a: Branch[A],
        b: Branch[B],
        c: Branch[C],
        d: Branch[D],
        /,
    ) -> None: ...
    @overload
    def __init__(
        self: Parallel[tuple[A, ...], A], key: str | None, /, *branches: Branch[A]
    ) -> None: ...
    @overload
    def __init__(
        self: Parallel[dict[str, A], A], key: str | None, /, **branches: Branch[A]
    ) -> None: ...
    def __init__(self, key: str | None, /, *branches: Branch[Any], **named: Branch[Any]) -> None:
        self.plan = _plan(key, ALL, branches, named)


class Race(Group[Won[T]], Generic[T]):
    """Run all branches at once until the first one ends; answered with `Won`, or it raises.

    The others are cancelled, and waited for until they have ended.
    """

    __slots__ = ()

    @overload
    def __init__(self: Race[A], key: str | None, a: Branch[A], /) -> None: ...
    @overload
    def __init__(self: Race[A | B], key: str | None, a: Branch[A], b: Branch[B], /) -> None: ...
    @overload
    def __init__(
        self: Race[A | B | C], key: str | None, a: Branch[A], b: Branch[B], c: Branch[C], /
    ) -> None: ...
    @overload
    def __init__(self: Race[A], key: str | None, /, *branches: Branch[A]) -> None: ...
    @overload
    def __init__(self: Race[A], key: str | None, /, **branches: Branch[A]) -> None: ...
    def __init__(self, key: str | None, /, *branches: Branch[Any], **named: Branch[Any]) -> None:
        self.plan = _plan(key, RACE, branches, named)
        if not self.plan.makers:
            raise UsageError("a race has at least one branch")


class ForEach(_Tolerant[list[R], R], Generic[R]):
    """Run ``body(item)`` for each item at once; answered with the list of results, by item.

    ``by`` names the branch of an item, so that another order of the items changes no path:
    ``ForEach("pages", pages, fetch, by=lambda page: page.id)`` has its steps under ``pages[id]``.
    """

    __slots__ = ()

    def __init__(
        self,
        key: str | None,
        items: Iterable[A],
        body: Callable[[A], Branch[R]],
        *,
        by: Callable[[A], str | int] | None = None,
        limit: int | None = None,
    ) -> None:
        listed = list(items)
        names = [str(index if by is None else by(item)) for index, item in enumerate(listed)]
        makers = tuple(_maker_of(body, item) for item in listed)
        plan = Plan(
            _key(key), ALL, tuple(f"[{check_key(name)}]" for name in names), makers, listed=True
        )
        self.plan = _checked(plan)
        if limit is not None:
            self.plan = self.limit(limit).plan


def _group(plan: Plan) -> Group[Any]:
    group: Group[Any] = Group.__new__(Group)
    group.plan = plan
    return group


def _key(key: str | None) -> str | None:
    return None if key is None else check_key(key)


def _plan(
    key: str | None, mode: str, branches: tuple[Branch[Any], ...], named: dict[str, Branch[Any]]
) -> Plan:
    if branches and named:
        raise UsageError("give the branches by position or by name, not both")
    segments = [f"[{index}]" for index in range(len(branches))]
    segments += [check_key(name) for name in named]
    makers = tuple(_iter_of(branch) for branch in (*branches, *named.values()))
    return _checked(Plan(_key(key), mode, tuple(segments), makers, named=bool(named)))


def _checked(plan: Plan) -> Plan:
    if len(plan.makers) > BRANCHES_MAX:
        raise UsageError(
            f"a group has at most {BRANCHES_MAX:,} branches, not {len(plan.makers):,}; "
            "go through the items in parts"
        )
    if len(set(plan.segments)) != len(plan.segments):
        raise UsageError("two branches of one group have the same name")
    return plan


def _iter_of(branch: Branch[Any]) -> Maker:
    if not isinstance(branch, Effect) and not hasattr(branch, "send"):
        raise UsageError(
            f"a branch is an effect or a generator of effects, not {type(branch).__name__} "
            "(call the helper: `fetch(page)`, not `fetch`)"
        )
    return lambda: iter(branch)


def _maker_of(body: Callable[[A], Branch[Any]], item: A) -> Maker:
    return lambda: _iter_of(body(item))()
