"""Programs that are built to hurt are refused within a second and 256 MB, each in its own process."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.lang.bombs import COMPILED, RUN


@pytest.fixture(scope="module")
def outcomes() -> dict[str, dict[str, object]]:
    """Try all bombs once; a child that is killed has died of its limits."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.lang.bombs"], capture_output=True, text=True, check=True
    )
    found = [json.loads(line) for line in done.stdout.splitlines()]
    return {f"{one['kind']} {one['name']}": one for one in found}


@pytest.mark.xdist_group("bombs")
@pytest.mark.parametrize("name", COMPILED)
def test_a_source_is_answered_within_its_limits(
    name: str, outcomes: dict[str, dict[str, object]]
) -> None:
    """There is a report with its code, or the source is fine; nothing else happens."""
    found = outcomes[f"compiled {name}"]
    assert "codes" in found, found
    codes = found["codes"]
    assert isinstance(codes, list)
    wanted = COMPILED[name][1]
    assert wanted in codes if wanted else codes == [], found


@pytest.mark.xdist_group("bombs")
@pytest.mark.parametrize("name", RUN)
def test_a_run_ends_within_its_limits(name: str, outcomes: dict[str, dict[str, object]]) -> None:
    """It fails by the bound that it meets: fuel, or the size of a value."""
    ended = str(outcomes[f"run {name}"].get("ended"))
    assert ended.startswith(("Ended failed ['FuelExhausted'", "Ended failed ['TooLarge'")), ended
