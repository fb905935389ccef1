"""`--app`: finds the registry object of the user's application, by file or by module.

This is the only place where code is imported by name, and the name comes from the command line of
this process, never from a log or a peer.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raftoral.errors import UsageError

if TYPE_CHECKING:
    from types import ModuleType

    from raftoral.registry.app import Registry
    from raftoral.replay.effects import Workflow


def load_app(spec: str) -> Registry:
    """Return the registry that ``FILE.py:NAME`` or ``MODULE:NAME`` names.

    A file is loaded by its path, with its folder importable for what lies beside it; a module is
    imported with the current folder on the path, as ``python -m`` does. Raises `UsageError` for
    what cannot be found or is no `Registry`; an error inside the user's module passes through.
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
    module = _file(Path(place), prefix) if place.endswith(".py") else _module(place, prefix)
    try:
        return place, name, getattr(module, name)
    except AttributeError:
        raise UsageError(f"{prefix}{place} has nothing named {name!r}") from None


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
    spec.loader.exec_module(module)
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
