"""What a command is as bytes: a record ``[tag, field, ...]``, checked field by field when read.

So `apply` meets well-formed commands only; anything else becomes a refusal, equal on every node.
"""

from __future__ import annotations

from dataclasses import MISSING, dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar, get_args, get_origin, get_type_hints

from raftoral.codec import pack_record, unpack_record
from raftoral.errors import CorruptionError, UsageError
from raftoral.ids import NodeId
from raftoral.values import INT_MAX

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True, slots=True)
class Command:
    """One command; subclasses name their tag and declare their fields in order."""

    tag: ClassVar[str]

    def encode(self) -> bytes:
        """Return the bytes that stand in the log; `UsageError` for halves of characters."""
        names: tuple[str, ...] = self.__match_args__
        try:
            return pack_record([self.tag, *(getattr(self, name) for name in names)])
        except UnicodeEncodeError as error:
            half = error.object[error.start]
            raise UsageError(
                f"a text of this `{self.tag}` holds {half!a}, half a character"
            ) from None


def _base(hint: Any) -> Any:
    """Return what a field's type is in a record: a plain type, or a tuple of one for a list."""
    if get_origin(hint) is list:
        return (_base(get_args(hint)[0]),)
    return hint if hint is NodeId else getattr(hint, "__supertype__", hint)


class Decoder:
    """Reads commands of some kinds, each known by its tag."""

    def __init__(self, kinds: Iterable[type[Command]]) -> None:
        self._kinds = {kind.tag: (kind, _types(kind), _needed(kind)) for kind in kinds}

    def decode(self, data: bytes) -> Command:
        """Return the command of log bytes; `UsageError` if they hold none.

        Fields with a default may be missing at the end: entries are read that were written before
        there were such fields.
        """
        try:
            tag, *values = unpack_record(data)
            kind, types, needed = self._kinds[tag]
        except (CorruptionError, KeyError, ValueError, TypeError):
            raise UsageError("these bytes hold no command") from None
        if not needed <= len(values) <= len(types) or not all(map(_fits, values, types)):
            raise UsageError(f"the fields of this `{tag}` command are not what they must be")
        return kind(*values)


def _types(kind: type[Command]) -> list[Any]:
    hints = get_type_hints(kind)
    return [_base(hints[field.name]) for field in fields(kind)]


def _needed(kind: type[Command]) -> int:
    """Return how many fields have no default."""
    return sum(each.default is each.default_factory is MISSING for each in fields(kind))


def _fits(value: Any, kind: Any) -> bool:
    if isinstance(kind, tuple):
        return type(value) is list and all(_fits(each, kind[0]) for each in value)
    if kind is NodeId:
        return type(value) is int and 0 <= value < 2**32  # Ids stand in keys with four bytes.
    return type(value) is kind and (kind is not int or 0 <= value <= INT_MAX)
