"""Effects that run other workflows as runs of their own: `Call`, `Start`, and `Restart` of this one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar, overload

from raftoral.errors import UsageError
from raftoral.replay.effects.base import Effect, check_key
from raftoral.replay.effects.definitions import Workflow
from raftoral.replay.history import CLOSINGS

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


class _Child(Effect[T], Generic[T]):
    """What `Call` and `Start` have in common; ``given`` is a list by position or a map by name."""

    __slots__ = ("closing", "given", "key", "name", "target", "version")

    key: str | None
    name: str
    version: int
    target: Callable[..., Any] | None
    given: list[Any] | dict[str, Any]
    closing: str

    def _fill(self, key: str | None, fn: Workflow[..., Any] | str, args: Any, kwargs: Any) -> None:
        self.key = None if key is None else check_key(key)
        if isinstance(fn, Workflow):
            self.name, self.version, self.target = fn.name, fn.version, fn.function
            try:
                self.given = dict(fn.signature.bind(*args, **kwargs).arguments)
            except TypeError as error:
                raise UsageError(f"the input does not fit {fn.name}: {error}") from None
            return
        if not isinstance(fn, str):
            raise UsageError(f"a child is a workflow or the name of one, not {fn!r:.60}")
        if args and kwargs:
            raise UsageError("give the input of a child by position or by name, not both")
        self.name, self.version, self.target = fn, 0, None
        self.given = dict(kwargs) if kwargs else list(args)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.key!r}, {self.name})"


def _like(child: Any, **changes: Any) -> Any:
    kind: Any = type(child)
    other = kind.__new__(kind)
    for name in _Child.__slots__:
        setattr(other, name, changes.get(name, getattr(child, name)))
    return other


class Call(_Child[T], Generic[T]):
    """Run another workflow as a child and wait for its end; answered with its result.

    ``Call("receipt", receipt, order)``; its id is ``parent/generation/path``. By name the newest
    version is taken when the child is started, unless `at` says which. Fails with the failure of the
    child. Cancelling this run cancels the child.
    """

    __slots__ = ()

    @overload
    def __init__(
        self: Call[R], key: str | None, fn: Workflow[P, R], /, *args: P.args, **kwargs: P.kwargs
    ) -> None: ...
    @overload
    def __init__(
        self: Call[Any], key: str | None, fn: str, /, *args: Any, **kwargs: Any
    ) -> None: ...
    def __init__(
        self, key: str | None, fn: Workflow[..., Any] | str, /, *args: Any, **kwargs: Any
    ) -> None:
        self._fill(key, fn, args, kwargs)
        self.closing = "cancel"

    def at(self, version: int) -> Call[T]:
        """Return this effect with the version of the child."""
        return _like(self, version=_version(version))  # type: ignore[no-any-return]


class Start(_Child[str]):
    """Run another workflow as a child and go on; answered with its id.

    When this run ends, the child goes on (`closing` ``"abandon"``), unless it says otherwise.
    """

    __slots__ = ()

    @overload
    def __init__(
        self, key: str | None, fn: Workflow[P, Any], /, *args: P.args, **kwargs: P.kwargs
    ) -> None: ...
    @overload
    def __init__(self, key: str | None, fn: str, /, *args: Any, **kwargs: Any) -> None: ...
    def __init__(
        self, key: str | None, fn: Workflow[..., Any] | str, /, *args: Any, **kwargs: Any
    ) -> None:
        self._fill(key, fn, args, kwargs)
        self.closing = "abandon"

    def at(self, version: int) -> Start:
        """Return this effect with the version of the child."""
        return _like(self, version=_version(version))  # type: ignore[no-any-return]

    def on_close(self, policy: str) -> Start:
        """Return this effect with what happens to the child when this run ends.

        ``policy`` is ``"abandon"``, ``"cancel"`` or ``"terminate"``.
        """
        if policy not in CLOSINGS:
            raise UsageError(f"a child is {', '.join(CLOSINGS)} on close, not {policy!r}")
        return _like(self, closing=policy)  # type: ignore[no-any-return]


def _version(version: int) -> int:
    if version < 1:
        raise UsageError(f"versions are counted from 1, not {version}")
    return version


class Restart(Effect[Any]):
    """End this generation and begin the run anew, with another input and an empty history.

    Signals that were not taken stay; timers, callbacks and cells go; children are closed by their
    policy. Nothing after it runs. It belongs to the workflow itself, not to a branch.
    """

    __slots__ = ("given",)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if args and kwargs:
            raise UsageError("give the input by position or by name, not both")
        self.given: list[Any] | dict[str, Any] = dict(kwargs) if kwargs else list(args)

    def __repr__(self) -> str:
        return "Restart(...)"
