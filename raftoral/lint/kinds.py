"""What kind of value an expression has, as far as the text tells: sets, effects, cells, classes.

Owns the guesses. They come from literals, annotations and what a variable is given; where they do not
agree, nothing is known, and nothing is reported.
"""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Final

from raftoral.lint.modules import Class, Function, Variable, arguments_of, own_nodes
from raftoral.lint.names import Builtin, Kind, Outside, Targets

if TYPE_CHECKING:
    from raftoral.lint.modules import Module, Project

EFFECTS: Final = frozenset(
    {
        *("AwaitCallback", "Call", "Callback", "Checkpoint", "Compute", "ForEach", "Log", "Now"),
        *("Parallel", "Race", "Random", "Receive", "Restart", "Saga", "SetCell", "Sleep"),
        *("SleepUntil", "Start", "Update", "Uuid"),
    }
)
"""The effects of `raftoral`, by the last part of their names."""

GROUPS: Final = frozenset({"ForEach", "Parallel", "Race"})
_FLOWS: Final = frozenset({"undo_now"})


class Names(Targets):
    """Resolves expressions inside one function; ``kinds`` are those of its own variables."""

    def __init__(self, project: Project, function: Function) -> None:
        super().__init__(project, function)
        self.kinds: dict[str, Kind] = {}
        self._learn()

    @classmethod
    def at_top(cls, project: Project, module: Module) -> Names:
        """Return what resolves names at the top of a module, in no function."""
        nothing = ast.FunctionDef("", _NO_ARGUMENTS, [], [], lineno=1)
        return cls(project, Function(module, nothing, "", None, None))

    def kind(self, node: ast.expr | None) -> Kind | None:
        """Return the kind of value an expression has; None if the text does not tell."""
        match node:
            case ast.Name(name):
                if name in self.kinds:
                    return self.kinds[name]
                found = self.target(node)
                return self._variable_kind(found) if isinstance(found, Variable) else None
            case ast.Set() | ast.SetComp():
                return "set"
            case ast.Constant(value):
                return type(value).__name__
            case ast.JoinedStr():
                return "str"
            case ast.List() | ast.ListComp() | ast.Dict() | ast.DictComp() | ast.Tuple():
                return type(node).__name__.removesuffix("Comp").lower()
            case ast.GeneratorExp() | ast.Compare() | ast.Lambda():
                return type(node).__name__.lower()
            case ast.BinOp(left, operator, right):
                return self._arithmetic(left, operator, right)
            case ast.IfExp(_, yes, no):
                kinds = {self.kind(yes), self.kind(no)}
                return kinds.pop() if len(kinds) == 1 else None
            case ast.Await(value) | ast.NamedExpr(_, value):
                return self.kind(value)
            case ast.Call():
                return self._call(node)
            case ast.YieldFrom(value) | ast.Yield(value):
                return self._answer(value)
            case ast.Attribute(value, name):
                owner = self.kind(value)
                return self._field(owner, name) if isinstance(owner, Class) else None
            case _:
                return None

    def _arithmetic(self, left: ast.expr, operator: ast.operator, right: ast.expr) -> Kind | None:
        kinds = (self.kind(left), self.kind(right))
        combines = isinstance(operator, ast.BitAnd | ast.BitOr | ast.BitXor | ast.Sub)
        if combines and ("set" in kinds or "keys" in kinds):
            return "set"
        if isinstance(operator, ast.Div) and set(kinds) <= {"int", "float"}:
            return "float"
        if "float" in kinds:
            return "float"
        return kinds[0] if kinds[0] == kinds[1] else None

    def _call(self, node: ast.Call) -> Kind | None:
        effect = self.effect(node)
        if effect is not None:
            return "effect"
        match self.target(node.func):
            case Class() as made:
                return made
            case Builtin("set" | "frozenset"):
                return "set"
            case Builtin("float" | "int" | "str" | "list" | "dict" | "tuple" | "sorted" as name):
                return "list" if name == "sorted" else name
            case Builtin("len" | "ord" | "round" as name):
                return "int" if name != "round" or len(node.args) == 1 else self.kind(node.args[0])
            case Outside("decimal.Decimal"):
                return "Decimal"
            case Outside(dotted) if dotted.startswith("raftoral.") and _last(dotted) in _FLOWS:
                return "flow"
            case Function() as function:
                return self._result(function)
            case _:
                pass
        if isinstance(node.func, ast.Attribute):
            owner = self.kind(node.func.value)
            if owner == "set" and node.func.attr in _SET_METHODS:
                return "set"
            if node.func.attr == "keys" and not node.args:
                return "keys"
        return None

    def _result(self, function: Function) -> Kind | None:
        if isinstance(function.node, ast.FunctionDef) and function.is_generator:
            return "flow" if self.is_flow(function) else "generator"
        return self.annotated(function.node.returns, function.module)

    def is_flow(self, function: Function) -> bool:
        """Tell whether a generator yields effects: by its annotation, else by what it yields."""
        known = self.project.flows.get(function)
        if known is None:
            self.project.flows[function] = False  # What calls itself is found by its other yields.
            known = self.project.flows[function] = self._is_flow(function)
        return known

    def _is_flow(self, function: Function) -> bool:
        returns = function.node.returns
        if returns is not None:
            text = ast.unparse(returns)
            if "Flow" in text or "Effect" in text:
                return True
        if not function.is_generator:
            return False
        names = self if function is self.function else Names(self.project, function)
        return any(
            isinstance(node, ast.Yield | ast.YieldFrom)
            and node.value is not None
            and names.effect(node.value) is not None
            for node in own_nodes(function.node)
        )

    def effect(self, node: ast.expr) -> str | None:
        """Return the name of the effect that an expression makes, for example ``Compute``."""
        match node:
            case ast.Call(func):
                target = self.target(func)
                if isinstance(target, Outside) and target.dotted.startswith("raftoral."):
                    last = _last(target.dotted)
                    return last if last in EFFECTS else None
                if not isinstance(func, ast.Attribute):
                    return None
                if func.attr in ("set", "update") and self.kind(func.value) == "cell":
                    return "SetCell"
                if func.attr == "wait" and self.kind(func.value) == "pending":
                    return "AwaitCallback"
                return self.effect(func.value)
            case _:
                return None

    def _answer(self, node: ast.expr | None) -> Kind | None:
        effect = None if node is None else self.effect(node)
        match effect:
            case "Checkpoint":
                return "cell"
            case "Callback":
                return "pending"
            case "Random":
                return "int"
            case "Uuid" | "Start":
                return "str"
            case "Compute" | "Receive" | "Call" | None:
                return self._promised(node)
            case _:
                return None

    def _promised(self, node: ast.expr | None) -> Kind | None:
        """Return the kind of an answer, by the annotation of the function that gives it."""
        call = made_by(node)
        if call is None:
            return None
        effect = self.effect(call)
        wanted: ast.expr | None = call.func
        if effect in ("Compute", "Call", "Receive"):
            wanted = call.args[1] if len(call.args) > 1 else None
        target = None if wanted is None else self.target(wanted)
        if effect == "Receive":
            return target if isinstance(target, Class) else None
        if not isinstance(target, Function):
            return None
        returns = target.node.returns
        if isinstance(returns, ast.Subscript) and ast.unparse(returns.value).endswith("Flow"):
            returns = returns.slice
        return self.annotated(returns, target.module)

    def annotated(self, note: ast.expr | None, module: Module) -> Kind | None:
        """Return the kind that an annotation in ``module`` declares."""
        match note:
            case ast.Constant(str(text)):
                try:
                    return self.annotated(ast.parse(text, mode="eval").body, module)
                except SyntaxError:
                    return None
            case ast.Subscript(value):
                return self.annotated(value, module)
            case ast.BinOp(left, ast.BitOr(), ast.Constant(None)):
                return self.annotated(left, module)
            case ast.Name(name) | ast.Attribute(_, name):
                found = self.top(module, note)
                if isinstance(found, Class):
                    return found
                if name in ("set", "frozenset", "AbstractSet", "Set", "FrozenSet", "MutableSet"):
                    return "set"
                if name in ("Cell", "Pending"):
                    return name.lower()
                if name in ("float", "int", "str", "Decimal", "bool", "list", "dict", "tuple"):
                    return name
                return None
            case _:
                return None

    def _variable_kind(self, variable: Variable) -> Kind | None:
        if len(variable.values) != 1 or variable.values[0] is None:
            return None
        value = variable.values[0]
        if isinstance(value, ast.Set | ast.SetComp):
            return "set"
        match value:
            case ast.Call(func):
                match self.top(variable.module, func):
                    case Builtin("set" | "frozenset"):
                        return "set"
                    case Outside("decimal.Decimal"):
                        return "Decimal"
                    case Class() as made:
                        return made
                    case _:
                        return None
            case ast.Constant(constant):
                return type(constant).__name__
            case _:
                return None

    def _field(self, owner: Class, name: str) -> Kind | None:
        for part in owner.node.body:
            match part:
                case ast.AnnAssign(ast.Name(field), note) if field == name:
                    return self.annotated(note, owner.module)
                case _:
                    pass
        return None

    # -------------------------------------------------------------- what its own variables hold
    def _learn(self) -> None:
        """Take the kinds of parameters from their annotations, of others from what they are given.

        A variable that is given two kinds of value has none.
        """
        node = self.function.node
        for argument in arguments_of(node):
            kind = self.annotated(argument.annotation, self.function.module)
            if kind is not None:
                self.kinds[argument.arg] = kind
        owner = self.function.owner
        if owner is not None and node.args.args:
            self.kinds.setdefault(node.args.args[0].arg, owner)
        mixed: set[str] = set()
        for part in own_nodes(node):
            match part:
                case ast.Assign([ast.Name(name)], value) | ast.NamedExpr(ast.Name(name), value):
                    kind = self.kind(value)
                case ast.AnnAssign(ast.Name(name), note, value):
                    kind = self.annotated(note, self.function.module) or self.kind(value)
                case ast.For(ast.Name(name)) | ast.withitem(_, ast.Name(name)):
                    kind = None
                case _:
                    continue
            known = self.kinds.get(name)
            if kind is None or (known is not None and known != kind):
                mixed.add(name)
            else:
                self.kinds[name] = kind
        for name in mixed:
            self.kinds.pop(name, None)


_NO_ARGUMENTS: Final = ast.arguments([], [], None, [], [], None, [])
_SET_METHODS: Final = frozenset(
    {"union", "intersection", "difference", "symmetric_difference", "copy"}
)


def made_by(node: ast.expr | None) -> ast.Call | None:
    """Return the innermost call of a chain such as ``Compute(...).retry(3)``: what makes it."""
    while isinstance(node, ast.Call):
        match node.func:
            case ast.Attribute(ast.Call() as inner):
                node = inner
            case _:
                return node
    return None


def _last(dotted: str) -> str:
    return dotted.rpartition(".")[2]
