"""The VS Code extension is in step with the language."""

from __future__ import annotations

import json
import re

from raftoral._assets import asset
from tests.lang import textmate

FOLDER = asset("grammar") / "editors" / "vscode"


def test_the_textmate_grammar_is_made_from_the_words(rewrite: bool) -> None:
    """The file is what the words of the language give; `pytest --rewrite` writes it anew."""
    path = FOLDER / "syntaxes" / "rwf.tmLanguage.json"
    if rewrite:
        path.write_text(textmate.grammar())
    assert path.read_text() == textmate.grammar()


def test_its_patterns_are_regular_expressions() -> None:
    """Every pattern compiles, and none matches the empty text, which would loop for ever."""
    patterns = re.findall(r'"(?:match|begin)": ("(?:\\.|[^"\\])*")', textmate.grammar())
    assert len(patterns) > 20
    for pattern in patterns:
        assert not re.compile(json.loads(pattern)).match("")


def test_the_manifest_names_what_is_there() -> None:
    """Language, grammar, configuration and program of the extension are files of the folder."""
    manifest = json.loads((FOLDER / "package.json").read_text())
    contributes = manifest["contributes"]
    (language,) = contributes["languages"]
    (grammar,) = contributes["grammars"]
    assert language["extensions"] == [".rwf"]
    assert grammar["scopeName"] == "source.rwf"
    for path in (manifest["main"], language["configuration"], grammar["path"]):
        assert (FOLDER / path).is_file()
    settings = contributes["configuration"]["properties"]
    program = (FOLDER / manifest["main"]).read_text()
    for name in settings:
        assert f'"{name.removeprefix("raftoral.")}"' in program
    json.loads((FOLDER / language["configuration"]).read_text())
