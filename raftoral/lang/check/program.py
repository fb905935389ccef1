"""The checks of a whole program: a file and all that it imports.

Effects where they may stand, steps named once in a scope, a value on every path, errors that exist,
loops with a bound. Adds reports to the one list; gives no unit while there is an error.
"""

from __future__ import annotations

import posixpath
from contextlib import suppress
from typing import TYPE_CHECKING

from raftoral.lang import ast
from raftoral.lang.check import constants, steps
from raftoral.lang.check.expressions import Expressions
from raftoral.lang.check.functions import Functions, check_calls, check_function
from raftoral.lang.check.size import check_size
from raftoral.lang.check.units import unit_of
from raftoral.lang.check.workflows import Workflow
from raftoral.lang.definitions import Definitions, Known
from raftoral.lang.diagnostics import Diagnostics, Enough
from raftoral.lang.imports import FILES_MAX, path_of
from raftoral.lang.parse import TEXT_BYTES_MAX, parse
from raftoral.lang.scope import Scope
from raftoral.lang.types import DURATION, show

if TYPE_CHECKING:
    from collections.abc import Callable

    from raftoral.lang.check.trials import Trial
    from raftoral.lang.ir import Unit
    from raftoral.lang.source import Source, Span


class Program:
    """A file and its imports. ``load`` gives a source by its path from the first file's folder."""

    def __init__(self, load: Callable[[str], Source | None]) -> None:
        self.units: tuple[Unit, ...] = ()
        self.trials: tuple[Trial, ...] = ()
        self.sources: dict[str, Source] = {}
        """The imported files, by their path."""
        self.types: dict[Span, str] = {}
        """The types of the values of workflows, by where their names are declared."""
        self._load = load
        self._known = Known()
        self._functions: Functions = {}
        self._files: dict[str, Definitions | None] = {}
        self._bytes = 0

    def check(self, tree: ast.File, source: Source, diagnostics: Diagnostics) -> None:
        """Check the first file; `units` and `trials` are there afterwards if all is well."""
        name = source.path.replace("\\", "/").rsplit("/", 1)[-1]
        definitions = self._file(tree, name, diagnostics, (name,))
        if definitions is None:
            return
        bodies = [Workflow(w, definitions, diagnostics) for w in definitions.workflows]
        for body in bodies:
            for variable in body.scope.everything:
                self.types[variable.name.span] = show(variable.type)
        if definitions.tests:
            self._check_tests(definitions, diagnostics, bodies)
        for alias, item in _imports(tree).items():
            if alias not in definitions.used:
                message = f"nothing of `{alias}` is used"
                diagnostics.warning("RWF0502", message, item.name.span)
        if diagnostics.has_errors:
            return
        for body in bodies:
            check_size(body, diagnostics)
        self.units = tuple(unit_of(body, source, self._functions) for body in bodies)

    def _check_tests(
        self, definitions: Definitions, diagnostics: Diagnostics, bodies: list[Workflow]
    ) -> None:
        from raftoral.lang.check.trials import check_test, closed_over

        trials = [check_test(test, definitions, diagnostics, bodies) for test in definitions.tests]
        if not diagnostics.has_errors:
            self.trials = tuple(closed_over(one, self._functions) for one in trials if one)

    # -------------------------------------------------------------- one file
    def _file(
        self, tree: ast.File, path: str, diagnostics: Diagnostics, chain: tuple[str, ...]
    ) -> Definitions | None:
        imports = {}
        for alias, item in _imports(tree).items():
            found = self._imported(item, path, diagnostics, chain)
            if found is not None:
                imports[alias] = found
        if diagnostics.has_errors:
            return None  # whatever is missing now may be in what was not read
        definitions = Definitions(tree, diagnostics, path=path, imports=imports, known=self._known)
        probe = Expressions(definitions, diagnostics, Scope(diagnostics, "a constant"))
        for name, constant in definitions.constants.items():
            constants.named(probe, definitions, name, constant.name.span)
        for policy in definitions.policies.values():
            steps.policy_of(probe, definitions, policy)
        _check_defaults(probe, definitions)
        for function in definitions.functions.values():
            self._functions[function.key] = check_function(function, definitions, diagnostics)
        check_calls(self._functions, path, diagnostics)
        return definitions

    def _imported(
        self, item: ast.Import, importer: str, diagnostics: Diagnostics, chain: tuple[str, ...]
    ) -> Definitions | None:
        """Return the definitions of an imported file; None after a report."""
        path = path_of(importer, item.path)
        if path in chain:
            way = " -> ".join((*chain[chain.index(path) :], path))
            diagnostics.error("RWF0131", f"the file imports itself: {way}", item.path_span)
            return None
        if path not in self._files:
            self._files[path] = self._read(item, path, diagnostics, chain)
        return self._files[path]

    def _read(
        self, item: ast.Import, path: str, diagnostics: Diagnostics, chain: tuple[str, ...]
    ) -> Definitions | None:
        source = None if posixpath.isabs(path) else self._load(path)
        if source is None:
            message = f"there is no file `{path}`" if item.path else "this names no file"
            label = "looked for beside the file that imports it"
            diagnostics.error("RWF0130", message, item.path_span, label)
            return None
        self._bytes += len(source.text.encode("utf-8", "replace"))
        source = source.clean()
        if len(self._files) >= FILES_MAX or self._bytes > TEXT_BYTES_MAX:
            message = f"a program has at most {FILES_MAX} files and {TEXT_BYTES_MAX // 1024} KiB"
            diagnostics.error("RWF0404", message, item.path_span)
            return None
        own = Diagnostics()
        definitions = None
        with suppress(Enough):
            tree = parse(source, own)
            if tree is not None:
                definitions = self._file(tree, path, own, (*chain, path))
        if own.has_errors or definitions is None:
            first = next(one for one in own.all() if one.severity == "error")
            line, column = source.place(first.span.start)
            note = f"{path}:{line}:{column}: {first.code}: {first.message}"
            note = first.notes[0] if first.code == "RWF0132" else note
            message = f"`{path}` has mistakes of its own"
            diagnostics.error("RWF0132", message, item.path_span, "mend it first", notes=(note,))
            return None
        self.sources[path] = source
        return definitions


def _imports(tree: ast.File) -> dict[str, ast.Import]:
    return {item.name.text: item for item in tree.items if isinstance(item, ast.Import)}


def _check_defaults(probe: Expressions, definitions: Definitions) -> None:
    """Check the defaults of fields and parameters where they are written, used or not."""
    shapes = [*definitions.records.values(), *definitions.errors.values()]
    shapes += [case for enum in definitions.enums.values() for case in enum.cases.values()]
    fields = [f for shape in shapes for f in shape.fields.values()]
    fields += [f for one in definitions.activities.values() for f in one.params.values()]
    fields += [f for one in definitions.functions.values() for f in one.params.values()]
    for field in fields:
        if field.default is not None:
            constants.default(probe, field)
    for activity in definitions.activities.values():
        definitions.error_names(activity.definition.raises)
        if activity.definition.timeout is not None:
            constants.once(probe, definitions, activity.definition.timeout, DURATION, "a timeout")
