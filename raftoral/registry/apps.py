"""`--app`: finds the registry object of the user's application, by file or by module.

This is the only place where code is imported by name, and the name comes from the command line of
this process, never from a log or a peer.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import sysconfig
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from raftoral.errors import RaftoralError, UsageError

if TYPE_CHECKING:
    from types import ModuleType

    from raftoral.registry.app import Registry
    from raftoral.replay.effects import Workflow


def load_app(spec: str) -> Registry:
    """Return the registry that ``FILE.py:NAME`` or ``MODULE:NAME`` names.

    A file is loaded by its path, with its folder importable for what lies beside it; a module is
    imported with the current folder on the path, as ``python -m`` does. Raises `UsageError` for
    what cannot be found or is no `Registry`, and for a module that fails, with its line.
    """
    from raftoral.registry.app import Registry

    place, name, registry = _named(spec, "--app: ")
    if not isinstance(registry, Registry):
        raise UsageError(
            f"--app: {name!r} in {place} is a {type(registry).__name__}; it must be a "
            "raftoral.Registry(workflows=[...], activities=[...])"
        )
    return registry


def load_workflows(spec: str) -> list[Workflow[Any, Any]]:
    """Return the workflows that ``FILE.py:NAME`` or ``MODULE:NAME`` names, without the lint.

    The name is that of a workflow or of a registry; `UsageError` as for `load_app`.
    """
    from raftoral.registry.app import Registry, unchecked
    from raftoral.replay.effects import Workflow

    with unchecked():
        place, name, found = _named(spec, "")
    if isinstance(found, Registry):
        return list(found.workflows.values())
    if isinstance(found, Workflow):
        return [found]
    raise UsageError(
        f"{name!r} in {place} is a {type(found).__name__}; it must be a workflow or a "
        "raftoral.Registry"
    )


def load_file(path: Path) -> ModuleType:
    """Return the module of a Python file, run from its path; `UsageError` if there is none."""
    return _file(path, "")


def _named(spec: str, prefix: str) -> tuple[str, str, object]:
    """Return place, name and object of ``FILE.py:NAME`` or ``MODULE:NAME``.

    ``prefix`` begins each message: the option that the text was given with.
    """
    place, colon, name = spec.rpartition(":")
    if not colon or not place or not name.isidentifier():
        raise UsageError(
            f"{prefix}write FILE.py:NAME or MODULE:NAME, such as app.py:registry, not {spec!r}"
        )
    try:
        module = _file(Path(place), prefix) if place.endswith(".py") else _module(place, prefix)
    except RaftoralError:
        raise
    except Exception as error:
        # It is the user's own code that fails, so what counts is where.
        raise UsageError(
            f"{prefix}{place} fails at {_where(error)}: {type(error).__name__}: {error}"
        ) from error
    try:
        return place, name, getattr(module, name)
    except AttributeError:
        raise UsageError(f"{prefix}{place} has nothing named {name!r}") from None


def _where(error: Exception) -> str:
    """Return file and line of what failed: the innermost one that is not of an installed package."""
    if isinstance(error, SyntaxError):
        return f"{error.filename}:{error.lineno}"
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if not frame.filename.startswith(_INSTALLED)]
    frame = (own or frames)[-1]
    return f"{frame.filename}:{frame.lineno}"


_INSTALLED: Final = (
    "<",  # The import system.
    str(Path(__file__).parents[1]),
    *(sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")),
)


def _file(path: Path, prefix: str) -> ModuleType:
    if not path.is_file():
        raise UsageError(f"{prefix}there is no file {path}")
    _importable(path.resolve().parent)
    spec = importlib.util.spec_from_file_location(path.stem, path.resolve())
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Dataclasses and annotations of the file look their module up by name.
    sys.modules[path.stem] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[path.stem]  # Half a module is none.
        raise
    return module


def _module(name: str, prefix: str) -> ModuleType:
    _importable(Path.cwd())
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise UsageError(
                f"{prefix}there is no module {name!r} here; for a file, write its path: "
                f"{name.replace('.', '/')}.py:NAME"
            ) from None
        raise


def _importable(folder: Path) -> None:
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
