"""README's application runs as it stands."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).parents[2] / "README.md"

pytestmark = [pytest.mark.processes, pytest.mark.xdist_group("processes")]


def test_the_application_in_the_readme_runs_as_it_stands(tmp_path: Path) -> None:
    """The text greets once, and run again it gives the recorded result without a second mail."""
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    (text,) = [block for block in blocks if "asyncio.run(main())" in block]
    (tmp_path / "app.py").write_text(text)

    def run() -> str:
        done = subprocess.run(
            [sys.executable, "app.py"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert run() == "to Ann: Welcome!\nsent to Ann\n"
    assert run() == "sent to Ann\n"
