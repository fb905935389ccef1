"""An error of the library as an HTTP answer: a status and ``{"error": {"code", "message"}}``.

Whatever is no `RaftoralError` is logged here and answered as ``internal``: a caller never sees a
traceback, and never a message that was not written for callers.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from starlette.responses import Response

from raftoral import errors
from raftoral.convert import to_json

if TYPE_CHECKING:
    from collections.abc import Mapping

log = logging.getLogger("raftoral.api")

_STATUS: Final[tuple[tuple[type[errors.RaftoralError], int], ...]] = (
    (errors.UnknownDefinition, 404),
    (errors.UnknownRun, 404),
    (errors.UnknownQuery, 404),
    (errors.UnknownCallback, 404),
    (errors.UnknownSchedule, 404),
    (errors.UnknownNode, 404),
    (errors.RunConflict, 409),
    (errors.RunEnded, 409),
    (errors.CallbackOver, 409),
    (errors.ScheduleConflict, 409),
    (errors.DefinitionRefused, 409),
    (errors.LimitExceeded, 413),
    (errors.UsageError, 400),
    (errors.QueryFailed, 422),
    (errors.UpdateRefused, 422),
    (errors.Unavailable, 503),
    (errors.PeerError, 502),
    (errors.RaftoralError, 500),
)
"""The first class that fits decides."""


def status_of(error: errors.RaftoralError) -> int:
    """Return the HTTP status that tells whose turn it is."""
    return next(status for kind, status in _STATUS if isinstance(error, kind))


def refusal(
    status: int, code: str, message: str, headers: Mapping[str, str] | None = None
) -> Response:
    """Return the answer of every failed request."""
    body = to_json({"error": {"code": code, "message": message}})
    if status == 503:
        headers = {"retry-after": "1"}
    return Response(body, status, headers, "application/json")


def answer_for(error: Exception, doing: str) -> Response:
    """Return the answer for an error that a handler raised while ``doing`` something."""
    problem = problem_of(error, doing)
    status = status_of(error) if isinstance(error, errors.RaftoralError) else 500
    return refusal(status, problem["code"], problem["message"])


def problem_of(error: Exception, doing: str) -> dict[str, str]:
    """Return what callers are told of an error; what is none of ours is logged here."""
    if isinstance(error, errors.RaftoralError):
        return {"code": error.code, "message": str(error)}
    log.error("%s failed unexpectedly", doing, exc_info=error)
    message = "the node met an unexpected error; its log has what happened"
    return {"code": "internal", "message": message}
