"""What every test may ask for."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let `pytest --rewrite` write transcripts instead of comparing them."""
    parser.addoption(
        "--rewrite",
        action="store_true",
        help="write what the code does now into the transcripts; read the diff before you commit",
    )
    parser.addoption(
        "--golden",
        action="store_true",
        help="store the histories of scenarios that have none; those that are stored stay",
    )


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> bool:
    """Return whether histories that are not stored yet are."""
    return bool(request.config.getoption("--golden"))


@pytest.fixture
def rewrite(request: pytest.FixtureRequest) -> bool:
    """Return whether transcripts are written instead of compared."""
    return bool(request.config.getoption("--rewrite"))
