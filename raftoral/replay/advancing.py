"""Advances the generators of one run: takes what they yield, begins and ends their branches.

Owns `Advancing`, the half of a replay that faces the code. Everything here follows from the events
that were fed before; nothing is decided by the order in which generators happen to be resumed,
since one is resumed only for an event, and branches begin and end in the order of the log.
"""

from __future__ import annotations

from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias

from raftoral.convert import from_plain, to_plain
from raftoral.errors import Cancelled, LimitExceeded, NonDeterminismError, RaftoralError, UsageError
from raftoral.replay.effects import (
    AwaitCallback,
    Call,
    Callback,
    Cell,
    Checkpoint,
    Compute,
    Group,
    Log,
    Now,
    Random,
    Receive,
    Restart,
    Saga,
    Scopes,
    SetCell,
    Sleep,
    SleepUntil,
    Start,
    Update,
    Uuid,
    current_scopes,
)
from raftoral.replay.effects.branches import RACE
from raftoral.replay.failures import as_error
from raftoral.replay.history import (
    CallbackDone,
    ChildAsked,
    ChildDone,
    ChildLeft,
    Closed,
    Logged,
    Opened,
    Restarted,
    encode,
)
from raftoral.replay.joins import Branch, Join
from raftoral.replay.outbox import Outbox
from raftoral.replay.packing import call_bytes, end_bytes, failed_bytes, set_bytes
from raftoral.replay.text import short
from raftoral.replay.waits import (
    CallbackWait,
    ChildWait,
    ComputeWait,
    NoteWait,
    SignalWait,
    TimerWait,
    TokenWait,
    UpdateWait,
    Wait,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from raftoral.ids import RunId
    from raftoral.replay.effects import Effect
    from raftoral.replay.history import Started
    from raftoral.values import Value

LIVE_BRANCHES_MAX: Final = 1_000
"""How many branches of one run may be under way at once, beside the workflow itself."""

NESTED_MAX: Final = 100
"""How deep groups of branches may be nested: a cancellation goes down them by recursion."""


_LATER: Final = object()
"""Stands for an answer that the branch is given when it is resumed."""


class Body(Protocol):
    """A started workflow of either front end.

    ``generator`` of `where` and `variables` is that of a branch; None is the workflow's own.
    """

    @property
    def generator(self) -> Generator[Effect[Any], Any, Any]:
        """The generator of effects."""
        ...

    @property
    def floats(self) -> bool:
        """Whether the workflow declares that its result holds floats."""
        ...

    def variables(self, generator: Any = None) -> dict[str, object]:
        """Return the variables that are in sight where the generator stands."""
        ...

    def where(self, generator: Any = None) -> tuple[str, int]:
        """Return the file (or definition) and line where it stands; line 0 if unknown."""
        ...

    def new_input(self, given: object) -> Value:
        """Return the input of the next generation as it is stored; `InvalidInput` if it is none."""
        ...


Begin: TypeAlias = "Callable[[Started], Body]"
Observer: TypeAlias = "Callable[[str, str], None]"


class Advancing:
    """The code's half of `raftoral.replay.interpreter.Replay`; see there."""

    def __init__(self, run_id: RunId, *, lockstep: bool, observe: Observer | None) -> None:
        self.run_id = run_id
        self.waits: dict[str, Wait] = {}
        self.changed: dict[str, None] = {}
        self.ended = False
        self.restarting = False
        self.started: Started | None = None
        self.cells: dict[str, Cell[Any]] = {}
        self.committed: dict[str, bytes] = {}
        self.body: Body | None = None
        self.root = Branch(Scopes(), "")
        self.root.scopes.run_id = run_id
        self._ahead = Outbox()
        self._lockstep = lockstep
        self._observe = observe
        self._owners: dict[str, Branch] = {}
        self._callers: dict[str, dict[Branch, None]] = {}
        """Who waits for a callback, in the order in which they came; several branches may."""
        self._paths: set[str] = set()
        self._children: dict[str, str] = {}
        self._live_branches = 0
        self._dropped: set[str] = set()
        self._left: dict[str, Wait] = {}
        """What was still waited for when the code was through."""
        self._arrived: dict[str, ChildDone | CallbackDone] = {}
        self._held: dict[Branch, None] = {}
        self._ready: deque[tuple[Branch, BaseException | None, Any]] = deque()

    # -------------------------------------------------------------- resuming
    def _resume(self, branch: Branch, value: object) -> None:
        """Have the branch go on with ``value`` once what is under way has come to rest."""
        branch.blocked = None
        self._ready.append((branch, None, value))

    def _throw(self, branch: Branch, error: BaseException) -> None:
        branch.blocked = None
        self._ready.append((branch, error, None))

    def _answer(self, branch: Branch, stored: Value, kind: Any) -> None:
        """Have the branch go on with a stored value as the type ``kind``."""
        try:
            value = from_plain(stored, kind)
        except Exception as error:
            self._throw(branch, error)
        else:
            self._resume(branch, value)

    def _pump(self) -> None:
        """Advance every branch that has something to go on with, until all are at rest."""
        while self._ready and not self.ended:
            branch, error, value = self._ready.popleft()
            if not branch.ended:
                self._advance(branch, error, value)

    def _advance(self, branch: Branch, error: BaseException | None, value: object) -> None:
        """Run one generator through what needs no answer until it blocks or ends."""
        generator = branch.generator
        assert generator is not None, "a branch is advanced once it has begun"
        token = current_scopes.set(branch.scopes)
        try:
            effect = generator.send(value) if error is None else generator.throw(error)
            while True:
                try:
                    answer = self._take(branch, effect)
                except NonDeterminismError:
                    raise
                except (RaftoralError, Cancelled) as refused:
                    effect = generator.throw(refused)
                    continue
                if branch.blocked is not None or answer is _LATER or self.ended:
                    return
                if self._lockstep and branch.outbox:
                    self._hold(branch, partial(self._resume, branch, answer))
                    return
                effect = generator.send(answer)
        except StopIteration as stop:
            self._finish(branch, stop.value, None)
        except NonDeterminismError:
            raise
        except (Exception, SystemExit, GeneratorExit, Cancelled) as failure:
            # Nothing that a workflow raises may leave the node's loop.
            self._finish(branch, None, failure)
        finally:
            current_scopes.reset(token)

    def _finish(self, branch: Branch, value: object, error: BaseException | None) -> None:
        """A generator is over: that of the workflow ends the run, that of a branch its group."""
        branch.ended = True
        join = branch.join
        if join is not None:
            self._branch_ended(join, branch, value, error)
            return
        if error is not None:
            data = failed_bytes(error)
        else:
            assert self.body is not None
            data = end_bytes(value, floats=self.body.floats)
        self._yield(branch, "", data)
        self._over()

    def _over(self) -> None:
        self.ended = True
        self.changed.update(dict.fromkeys(self.waits))
        self._left = dict(self.waits)
        self.waits.clear()
        self._ready.clear()

    # -------------------------------------------------------------- lockstep
    def _hold(self, branch: Branch, then: Callable[[], None]) -> None:
        """Have the branch stand where it is until all that it yielded is committed."""
        branch.held = then
        self._held[branch] = None

    def _unhold(self, branch: Branch) -> None:
        then, branch.held = branch.held, None
        self._held.pop(branch, None)
        if then is not None:
            then()
            self._pump()

    def _release(self) -> None:
        """Run ahead as a node would have: what comes now may change where branches end."""
        lockstep, self._lockstep = self._lockstep, False
        for branch in list(self._held):
            self._unhold(branch)
        self._lockstep = lockstep

    # -------------------------------------------------------------- what is yielded
    def _take(self, branch: Branch, effect: object) -> object:
        """Note what was yielded; return the answer if it is known, else block the branch."""
        match effect:
            case Checkpoint():
                return self._open_cell(branch, effect)
            case SetCell(cell, value):
                self._set_cell(branch, cell, value)
                return None
            case Log(text, key):
                path = self._path(branch, key, "log")
                self._emit(branch, path, encode(Logged(path, str(text))))
                return None
            case Start():
                return self._ask_child(branch, effect, self._path(branch, effect.key, "start"))
            case Restart():
                self._restart(branch, effect)
                return None
            case _:
                return self._block(branch, effect)

    def _block(self, branch: Branch, effect: object) -> object:
        """Take an effect that has to be waited for; a cancelled branch meets `Cancelled` here."""
        self._meet_cancelled(branch)
        match effect:
            case Compute(key=key):
                if effect.options.undo is not None and branch.scopes.undo is None:
                    raise UsageError(f"{effect!r} has a compensation, but no `Saga` is around it")
                call = call_bytes(effect)
                wait: Wait = ComputeWait(self._path(branch, key, "compute"), effect, call)
            case Sleep(_, key) | SleepUntil(_, key):
                wait = TimerWait(self._path(branch, key, "sleep"), effect)
            case Receive():
                wait = SignalWait(self._path(branch, effect.key, effect.name), effect)
            case Update():
                wait = UpdateWait(self._path(branch, effect.key, effect.name), effect)
            case Now(key) | Random(_, key) | Uuid(key):
                kind = type(effect).__name__.lower()
                wait = NoteWait(self._path(branch, key, kind), effect)
            case Callback(key=key):
                wait = TokenWait(self._path(branch, key, "callback"), effect)
            case Call(key=key):
                path = self._path(branch, key, "call")
                child = self._ask_child(branch, effect, path)
                wait = ChildWait(path, child, effect)
            case AwaitCallback(pending):
                return self._await_callback(branch, pending.path, pending.kind)
            case Group():
                self._open_group(branch, effect)
                return _LATER  # Its answer may be on its way already: a group can be empty.
            case Saga():
                raise UsageError("a saga is run by `yield from Saga(...)`, not by `yield`")
            case _:
                raise UsageError(
                    f"a workflow yields effects only, not {short(effect)} "
                    "(forgot `yield from` before a helper, or Compute around a call?)"
                )
        self._wait(branch, wait)
        return None

    def _meet_cancelled(self, branch: Branch) -> None:
        if branch.cancel_due is not None and not branch.scopes.shield:
            due, branch.cancel_due = branch.cancel_due, None
            raise due

    def _wait(self, branch: Branch, wait: Wait) -> None:
        branch.blocked = wait
        self.waits[wait.path] = wait
        self.changed[wait.path] = None
        self._owners[wait.path] = branch

    def _drop(self, path: str) -> None:
        """Forget a wait: it is answered, or its branch was cancelled."""
        if self.waits.pop(path, None) is not None:
            self.changed[path] = None

    def _open_cell(self, branch: Branch, effect: Checkpoint[Any]) -> Cell[Any]:
        kind = effect.kind
        path = self._path(branch, effect.key)
        if kind is None and type(effect.value) is float:
            kind = object  # A float is stored only where the code says so.
        cell: Cell[Any] = Cell(path, effect.value, type(effect.value) if kind is None else kind)
        self._owners[path] = branch
        try:
            self._set_cell(branch, cell, effect.value)
        except UsageError:
            self._paths.discard(path)  # A step that is refused has not taken its name.
            raise
        self.cells[path] = cell
        return cell

    def _set_cell(self, branch: Branch, cell: Cell[Any], value: object) -> None:
        """Yield a `Set`; the cell then holds the value as it will be read back."""
        if self._owners.get(cell.path) is not branch:
            raise UsageError(
                f"checkpoint `{cell.path}` belongs to another branch; give the result back and set "
                "it there"
            )
        data, stored = set_bytes(cell, value)
        recorded = self._emit(branch, cell.path, data)
        if recorded:
            self.committed[cell.path] = data
        if self._lockstep and not recorded:
            branch.unset = (cell, stored)
        else:
            cell.value = stored

    def _emit(self, branch: Branch, path: str, data: bytes) -> bool:
        """Yield an event, unless the code runs ahead without bound; see `Outbox.put`."""
        self._ahead.check_room(len(data))
        return self._yield(branch, path, data)

    def _yield(self, branch: Branch, path: str, data: bytes) -> bool:
        recorded = self._ahead.put(branch, data, lambda: self.where(branch))
        if not recorded and path:
            self._owners[path] = branch
        return recorded

    def _path(self, branch: Branch, key: str | None, kind: str = "") -> str:
        """Return the path of a step here: of its key, or counted by its kind without one."""
        scopes = branch.scopes
        path = scopes.unnamed(kind) if key is None else scopes.path(key)
        if path in self._paths:
            raise UsageError(
                f"two steps are called `{path}`; inside a loop, open a scope for each turn: "
                "`with scope(f'item-{n}'): ...`"
            )
        self._paths.add(path)
        return path

    # -------------------------------------------------------------- children, callbacks, restart
    def _ask_child(self, branch: Branch, effect: Call[Any] | Start, path: str) -> str:
        assert self.started is not None
        child = self._children.get(path) or f"{self.run_id}/{self.started.generation}/{path}"
        given: Any = to_plain(effect.given)
        detached = isinstance(effect, Start)
        asked = ChildAsked(
            path, child, effect.name, effect.version, given, effect.closing, detached
        )
        self._emit(branch, path, encode(asked, floats=True))
        return child

    def _await_callback(self, branch: Branch, path: str, kind: Any) -> object:
        arrived = self._arrived.get(path)
        if arrived is not None:
            return _unpacked(arrived, kind)
        branch.blocked = self.waits[path]
        self._owners[path] = branch
        self._callers.setdefault(path, {})[branch] = None
        return None

    def _restart(self, branch: Branch, effect: Restart) -> None:
        if branch is not self.root:
            raise UsageError("`Restart` belongs to the workflow itself, not to one of its branches")
        self._meet_cancelled(branch)
        assert self.body is not None
        self._emit(branch, "", encode(Restarted(self.body.new_input(effect.given)), floats=True))
        self.restarting = True
        self._over()

    def _cancel_restart(self, reason: str) -> None:
        """Have `Cancelled` meet the code at a `Restart` that is not settled, as at any wait.

        The next generation would not know that somebody asked for it.
        """
        self._ahead.withdraw(self.root)
        self.restarting = self.ended = False
        self.waits.update(self._left)
        self.changed.update(dict.fromkeys(self._left))
        self.root.cancelling = True
        self._throw(self.root, Cancelled(reason))

    # -------------------------------------------------------------- groups of branches
    def _open_group(self, branch: Branch, effect: Group[Any]) -> None:
        plan = effect.plan
        more = len(plan.makers) if plan.limit is None else min(plan.limit, len(plan.makers))
        if self._live_branches + more > LIVE_BRANCHES_MAX:
            raise LimitExceeded(
                f"a run has at most {LIVE_BRANCHES_MAX:,} branches under way; use `.limit(n)`"
            )
        if branch.depth >= NESTED_MAX:
            raise LimitExceeded(f"groups of branches are nested at most {NESTED_MAX} levels deep")
        path = self._path(branch, plan.key, "race" if plan.mode == RACE else "parallel")
        join = Join(plan, path, branch)
        self._emit(branch, path, encode(Opened(path, join.size)))
        branch.blocked = join
        if self._lockstep and branch.outbox:
            self._hold(branch, lambda: self._begin_more(join))
        else:
            self._begin_more(join)

    def _begin_more(self, join: Join) -> None:
        """Begin as many branches as the group allows now; end the group if none is left."""
        while join.may_begin():
            self._begin(join)
        if join.over:
            self._close_group(join)

    def _begin(self, join: Join) -> None:
        index = join.begun
        segment = join.plan.segments[index]
        *inside, key = join.path.split("/")
        around = join.parent.scopes
        place = Scopes(inside).within(key, segment)
        scopes = Scopes(place, around.undo)
        branch = Branch(scopes, "/".join(place), join, index, depth=join.parent.depth + 1)
        join.begin(branch)
        self._live_branches += 1
        self._told(branch, "begun")
        try:
            flow = join.plan.makers[index]()
            branch.generator = iter(Saga(flow)) if join.plan.mode == RACE else flow
        except Exception as error:
            branch.generator = _failing(error)
        self._resume(branch, None)

    def _branch_ended(
        self, join: Join, branch: Branch, value: object, error: BaseException | None
    ) -> None:
        self._live_branches -= 1
        stop = join.ended(branch, value, error)
        self._told(branch, join.outcomes[branch.index].status)
        if self._lockstep and branch.outbox:
            # A node would not have waited either; only what the group does next is held.
            self._hold(branch, lambda: self._go_on(join, stop=stop))
        else:
            self._go_on(join, stop=stop)

    def _go_on(self, join: Join, *, stop: bool) -> None:
        if stop:
            for other in list(join.branches.values()):
                self._cancel(other, "another branch ended first")
        self._begin_more(join)

    def _close_group(self, join: Join) -> None:
        parent = join.parent
        if join.closed:
            return
        join.closed = True
        self._yield(parent, join.path, encode(Closed(join.path, join.order)))
        if self._lockstep and parent.outbox:
            self._hold(parent, lambda: self._leave_group(join))
        else:
            self._leave_group(join)

    def _leave_group(self, join: Join) -> None:
        parent = join.parent
        due = None
        if not parent.scopes.shield:
            due, parent.cancel_due = parent.cancel_due, None
        try:
            result = join.result(due)
        except (Exception, Cancelled, SystemExit, GeneratorExit) as error:
            self._throw(parent, error)
        else:
            self._resume(parent, result)

    # -------------------------------------------------------------- cancelling
    def _cancel(self, branch: Branch, reason: str) -> None:
        """Ask a branch to stop, once: where it waits, or at the next effect to be waited for."""
        if branch.ended or branch.cancelling:
            return
        branch.cancelling = True
        cancelled = Cancelled(reason)
        blocked = None if branch.scopes.shield else branch.blocked
        match blocked:
            case None:
                branch.cancel_due = cancelled
            case Join():
                branch.cancel_due = cancelled
                blocked.stopping = True
                for inner in list(blocked.branches.values()):
                    self._cancel(inner, reason)
                if blocked.over:
                    self._close_group(blocked)
            case ComputeWait():
                branch.cancel_due = cancelled
                blocked.cancelling = True
                self.changed[blocked.path] = None
            case ChildWait(path):
                self._yield(branch, path, encode(ChildLeft(path)))
                self._leave_wait(branch, path, cancelled)
            case CallbackWait():
                self._throw(branch, cancelled)
            case _:
                self._leave_wait(branch, blocked.path, cancelled)

    def _leave_wait(self, branch: Branch, path: str, cancelled: Cancelled) -> None:
        self._drop(path)
        self._dropped.add(path)
        self._throw(branch, cancelled)

    # -------------------------------------------------------------- looking
    def _told(self, branch: Branch, what: str) -> None:
        if self._observe is not None:
            self._observe(branch.path, what)

    def where(self, branch: Branch | None = None) -> str:
        """Return ``file:line`` of the statement that a branch stands at; empty if unknown."""
        if self.body is None:
            return ""
        name, line = self.body.where(None if branch is None else branch.generator)
        return f"{name}:{line}" if line else name


def _failing(error: Exception) -> Generator[Effect[Any], Any, Any]:
    """Return a branch that fails as it begins."""
    yield from ()
    raise error


def _unpacked(arrived: ChildDone | CallbackDone, kind: Any) -> object:
    if not arrived.ok:
        raise as_error(arrived.value)
    return from_plain(arrived.value, kind)
