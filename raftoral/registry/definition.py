"""A versioned definition as it is stored: name, version, kind, body and hashes.

A `.rwf` definition carries its canonical source and its checked IR, so every node runs the same
meaning; a Python definition carries the hash of its code, so a node whose code differs knows it.
"""

from __future__ import annotations

import io
import tokenize
from dataclasses import dataclass
from hashlib import sha256
from inspect import getsource
from textwrap import dedent
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, cast

from raftoral.codec import pack_record, unpack_record
from raftoral.errors import CorruptionError, UsageError

if TYPE_CHECKING:
    from raftoral.lang.compile import WorkflowUnit
    from raftoral.replay.effects import Workflow

Kind: TypeAlias = Literal["rwf", "python"]

SOURCE_BYTES_MAX: Final = 256 * 1024
_LAYOUT: Final = frozenset(
    {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.ENCODING, tokenize.ENDMARKER}
)


@dataclass(frozen=True, slots=True)
class Definition:
    """One version of one workflow. ``meaning_hash`` is what runs are pinned to."""

    name: str
    version: int
    kind: Kind
    meaning_hash: str
    text_hash: str
    source: str
    ir: bytes

    def encode(self) -> bytes:
        """Return the stored bytes."""
        return pack_record(
            [
                self.name,
                self.version,
                self.kind,
                self.meaning_hash,
                self.text_hash,
                self.source,
                self.ir,
            ]
        )

    @classmethod
    def decode(cls, data: bytes) -> Definition:
        """Return the definition of stored bytes."""
        match unpack_record(data):
            case [str(name), int(version), str(kind), str(meaning), str(text), str(src), bytes(ir)]:
                return cls(name, version, cast("Kind", kind), meaning, text, src, ir)
            case _:
                raise CorruptionError("these bytes hold no definition")

    def __str__(self) -> str:
        return f"{self.name} version {self.version}"


def rwf_definition(unit: WorkflowUnit) -> Definition:
    """Return the definition of a compiled `.rwf` workflow."""
    return Definition(
        unit.name,
        unit.version,
        "rwf",
        unit.meaning_hash,
        unit.text_hash,
        unit.source,
        unit.ir,
    )


def python_definition(workflow: Workflow[Any, Any]) -> Definition:
    """Return the definition of a Python workflow: its source for people, its code by hash."""
    try:
        source = dedent(getsource(workflow.function))
    except (OSError, TypeError):
        raise UsageError(
            f"the source of workflow {workflow.name} cannot be read, so its code cannot be told "
            "from another version's; define it in a file"
        ) from None
    digest = code_hash(source)
    text = sha256(source.encode()).hexdigest()
    ir = Interface(tuple(workflow.signature.parameters), workflow.search).encode()
    return Definition(workflow.name, workflow.version, "python", digest, text, source, ir)


@dataclass(frozen=True, slots=True)
class Interface:
    """What of a Python workflow every node has to know, also one without its code.

    ``parameters`` are their names in their order, ``search`` the cells that runs are listed by.
    It is the ``ir`` of the definition.
    """

    parameters: tuple[str, ...] = ()
    search: tuple[str, ...] = ()

    def encode(self) -> bytes:
        """Return the stored bytes."""
        return pack_record([self.parameters, self.search])

    @classmethod
    def of(cls, definition: Definition) -> Interface:
        """Return the interface of a Python definition."""
        match unpack_record(definition.ir):
            case [list(parameters), list(search)]:
                return cls(tuple(parameters), tuple(search))
            case _:
                raise CorruptionError(f"the interface of {definition} cannot be read")


def code_hash(source: str) -> str:
    """Return the sha256 of a function's tokens, without comments and layout.

    Equal under every interpreter and formatter; indentation counts by its depth only.
    """
    digest = sha256()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type in _LAYOUT:
            continue
        text = "" if token.type in (tokenize.INDENT, tokenize.DEDENT) else token.string
        # Names and not numbers: the numbers of token kinds differ between interpreters.
        kind = tokenize.tok_name[token.type]
        digest.update(f"{kind}\0{text}\0".encode())
    return digest.hexdigest()
