"""The reader of transcripts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests import transcript

if TYPE_CHECKING:
    from pathlib import Path

TEXT = """\
# A comment.
add 1 names=(a, b) fast=true here
more
----
first
second

empty
----

framed
----
----
one

two
----
----
"""


def test_a_transcript_is_read_block_by_block() -> None:
    """Commands, arguments, input and output are told apart."""
    add, empty, framed = transcript.read(TEXT)
    assert (add.name, add.words(), add.input) == ("add", ["1", "here"], "more")
    assert (add.args["names"], add.args["fast"]) == (["a", "b"], ["true"])
    assert add.expected == "first\nsecond"
    assert (empty.command, empty.expected) == ("empty", "")
    assert framed.expected == "one\n\ntwo"


def test_a_command_without_a_rule_is_named() -> None:
    """A file that ends inside a block says where."""
    with pytest.raises(ValueError, match="line 1"):
        list(transcript.read("command\n"))


def test_rewriting_keeps_all_but_the_output(tmp_path: Path) -> None:
    """A rewritten transcript holds the new output and is accepted from then on."""
    path = tmp_path / "story.txt"
    path.write_text(TEXT, encoding="utf-8")

    def handle(block: transcript.Block) -> str:
        return f"{block.name}!" if block.name != "framed" else "x\n\ny"

    with pytest.raises(AssertionError, match=r"story.txt:2: add 1"):
        transcript.run(path, handle)
    transcript.run(path, handle, rewrite=True)
    transcript.run(path, handle)
    text = path.read_text(encoding="utf-8")
    assert text.startswith("# A comment.\nadd 1 names=(a, b) fast=true here\nmore\n----\nadd!\n")
