"""What a check found, as plain maps for programs: a list of findings, or SARIF 2.1.0.

SARIF is the format that code hosts and editors read; only what they need of it is written.
"""

from __future__ import annotations

from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Final

from raftoral.lint.codes import explanations

if TYPE_CHECKING:
    from raftoral.lang.diagnostics import Diagnostic
    from raftoral.lang.source import Source
    from raftoral.lint.check import Checked

SARIF_VERSION: Final = "2.1.0"


def findings(checked: Checked) -> list[dict[str, Any]]:
    """Return one map a finding: code, severity, message, file, line, column, help and notes.

    Lines and columns count from 1; ``end_line`` and ``end_column`` are the first place behind it.
    """
    return [
        {
            "code": one.code,
            "severity": one.severity,
            "message": one.message,
            "file": report.source.path,
            **_places(one, report.source),
            "label": one.label,
            "help": list(one.help),
            "notes": list(one.notes),
        }
        for report in checked.reports
        for one in report.diagnostics
    ]


def _places(one: Diagnostic, source: Source) -> dict[str, int]:
    line, column = source.place(one.span.start)
    end_line, end_column = source.place(one.span.end)
    return {"line": line, "column": column, "end_line": end_line, "end_column": end_column}


def sarif(checked: Checked, version: str) -> dict[str, Any]:
    """Return a SARIF log of one run of the lint, of that version of the library."""
    pages = explanations()
    used = sorted({one.code for report in checked.reports for one in report.diagnostics})
    rules = [
        {
            "id": code,
            "shortDescription": {"text": pages[code].title},
            "fullDescription": {"text": pages[code].why},
            "help": {"text": f"wrong:\n{pages[code].wrong}\n\nright:\n{pages[code].right}"},
        }
        for code in used
    ]
    results = [
        {
            "ruleId": one.code,
            "ruleIndex": used.index(one.code),
            "level": one.severity,
            "message": {"text": " ".join([f"{one.message}.", *one.help, *one.notes])},
            "locations": [_location(one, report.source)],
        }
        for report in checked.reports
        for one in report.diagnostics
    ]
    driver = {"name": "raftoral lint", "version": version, "rules": rules}
    return {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": SARIF_VERSION,
        "runs": [
            {"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": results}
        ],
    }


def _location(one: Diagnostic, source: Source) -> dict[str, Any]:
    places = _places(one, source)
    region = {
        "startLine": places["line"],
        "startColumn": places["column"],
        "endLine": places["end_line"],
        "endColumn": places["end_column"],
    }
    path = PurePath(source.path)
    uri = path.as_uri() if path.is_absolute() else path.as_posix()
    return {"physicalLocation": {"artifactLocation": {"uri": uri}, "region": region}}
