"""The orders of the demo: what each run is given, and what it must return.

Every order differs, so a result that came to the wrong run is seen; none is large enough to wait
for somebody's approval.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from raftoral.values import Value

PREFIX: Final = "order-"


def order(number: int) -> tuple[str, str, dict[str, Value]]:
    """Return the workflow, the run's id and the input of order ``number``."""
    run_id = f"{PREFIX}{number:03}"
    items: list[Value] = [
        {"sku": "tea", "qty": number % 7 + 1, "price": "4.50EUR"},
        {"sku": f"cup-{number}", "qty": 1, "price": f"{number % 90 + 1}.{number % 100:02}EUR"},
    ]
    return "order", run_id, {"order": {"id": run_id, "card": "4000-1234", "items": items}}


def wrong(run_id: str, result: object) -> str | None:
    """Return what is wrong with the result of a run, or None."""
    if not isinstance(result, dict):
        return f"its result is {result!r:.60}, not a receipt"
    number = int(run_id.removeprefix(PREFIX))
    amount = (number % 7 + 1) * Decimal("4.50") + Decimal(f"{number % 90 + 1}.{number % 100:02}")
    expected = {"order": run_id, "amount": f"{amount}EUR"}
    for name, value in expected.items():
        if result.get(name) != value:
            return f"{name} is {result.get(name)!r:.60}, not {value!r}"
    for name in ("payment", "tracking"):
        if not result.get(name):
            return f"there is no {name} in its receipt"
    return None
