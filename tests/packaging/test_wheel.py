"""What a user installs is what was built: the wheel carries the grammar, the examples and the REPL."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a freshly built wheel."""
    out = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(out)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (built,) = out.glob("*.whl")
    return built


def test_the_wheel_has_the_packages_and_their_assets_and_nothing_else(wheel: Path) -> None:
    """Only raftoral and raftoral_repl reach site-packages, with grammar and workflows inside."""
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert tops == {"raftoral", "raftoral_repl", "raftoral-0.1.0.dist-info"}
    for wanted in (
        "raftoral/py.typed",
        "raftoral/_assets/grammar/rwf.lark",
        "raftoral/_assets/workflows/order.rwf",
        "raftoral/_assets/workflows/order.py",
        "raftoral_repl/__main__.py",
    ):
        assert wanted in names


def test_an_installed_wheel_compiles_an_example_and_has_its_command(
    wheel: Path, tmp_path: Path
) -> None:
    """From the wheel alone, away from the checkout, an example compiles and the command answers."""
    site = tmp_path / "site"
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(site), wheel],
        check=True,
        capture_output=True,
    )
    program = """
import sys
sys.path[:0] = sys.argv[1:3]
import raftoral
assert raftoral.__file__.startswith(sys.argv[1]), raftoral.__file__
from raftoral._assets import asset
from raftoral.lang.compile import compile_source
from raftoral.lang.source import Source
from raftoral.registry.files import beside
for path in sorted(asset("workflows").glob("*.rwf")):
    compiled = compile_source(Source(path.name, path.read_text()), beside(path))
    assert not compiled.diagnostics, (path, compiled.diagnostics)
from raftoral.cli import main
sys.argv[1:] = ["version"]
sys.exit(main())
"""
    done = subprocess.run(
        [sys.executable, "-I", "-c", program, str(site), sysconfig.get_paths()["purelib"]],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "0.1.0" in done.stdout
