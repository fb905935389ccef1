"""Both type checkers infer what effects are answered with, and report planted mistakes."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SAMPLE = Path(__file__).with_name("sample.txt").read_text()
WRONG = {number for number, line in enumerate(SAMPLE.splitlines(), 1) if "# wrong:" in line}


@pytest.fixture
def sample(tmp_path: Path) -> Path:
    """Return the sample as a module; in the repository it is a text, since it is wrong on purpose."""
    path = tmp_path / "sample.py"
    path.write_text(SAMPLE)
    return path


def tool(*command: str) -> str:
    """Return what a checker prints."""
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode in (0, 1), done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_mypy_reports_the_planted_mistakes_and_nothing_else(sample: Path) -> None:
    """Mypy --strict infers every answer, and finds each marked line and no other."""
    cache = f"--cache-dir={sample.parent / 'cache'}"
    out = tool("mypy", "--strict", "--follow-imports=silent", cache, str(sample))
    lines = {int(number) for number in re.findall(r"sample\.py:(\d+): error", out)}
    assert lines == WRONG, out


@pytest.mark.slow
def test_pyright_reports_the_planted_mistakes_and_nothing_else(sample: Path) -> None:
    """Pyright infers every answer too, and finds each marked line and no other."""
    python = f"--pythonpath={sys.executable}"
    out = json.loads(tool("pyright", "--outputjson", python, str(sample)))
    errors = [each for each in out["generalDiagnostics"] if each["severity"] == "error"]
    lines = {each["range"]["start"]["line"] + 1 for each in errors}
    assert lines == WRONG, [each["message"] for each in errors]
