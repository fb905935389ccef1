"""Reports as plain maps for programs: a list of findings, or SARIF 2.1.0.

SARIF is the format that code hosts and editors read; only what they need of it is written. Serves
every tool that reports `Diagnostic`s, whatever the language of the source.
"""

from __future__ import annotations

from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from raftoral.lang.diagnostics import Diagnostic
    from raftoral.lang.source import Source, Span

SARIF_VERSION: Final = "2.1.0"


class Report(Protocol):
    """What was found in one file."""

    @property
    def source(self) -> Source:
        """The file, as it was read."""

    @property
    def diagnostics(self) -> tuple[Diagnostic, ...]:
        """What is wrong with it, in the order of its text."""


class Page(Protocol):
    """What a code means."""

    @property
    def title(self) -> str:
        """The code in a few words."""

    @property
    def why(self) -> str:
        """Why it is reported."""

    @property
    def wrong(self) -> str:
        """An example that gets it."""

    @property
    def right(self) -> str:
        """The same without."""


def findings(reports: Iterable[Report]) -> list[dict[str, Any]]:
    """Return one map a finding: code, severity, message, file, places, help, notes and fixes.

    Lines and columns count from 1; ``end_line`` and ``end_column`` are the first place behind it.
    """
    return [
        {
            "code": one.code,
            "severity": one.severity,
            "message": one.message,
            "file": report.source.path,
            **place(one.span, report.source),
            "label": one.label,
            "labels": [{"text": m.text, **place(m.span, report.source)} for m in one.labels],
            "help": list(one.help),
            "notes": list(one.notes),
            "fixes": [
                {
                    "title": fix.title,
                    "safe": fix.safe,
                    "edits": [
                        {"text": edit.text, **place(edit.span, report.source)} for edit in fix.edits
                    ],
                }
                for fix in one.fixes
            ],
        }
        for report in reports
        for one in report.diagnostics
    ]


def place(span: Span, source: Source) -> dict[str, int]:
    """Return where a piece of a source begins and ends."""
    line, column = source.place(span.start)
    end_line, end_column = source.place(span.end)
    return {"line": line, "column": column, "end_line": end_line, "end_column": end_column}


def sarif(
    reports: Iterable[Report], pages: Mapping[str, Page], tool: str, version: str
) -> dict[str, Any]:
    """Return a SARIF log of one run of a tool, of that version of the library."""
    reports = list(reports)
    used = sorted({one.code for report in reports for one in report.diagnostics})
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
        _result(one, report.source, used) for report in reports for one in report.diagnostics
    ]
    driver = {"name": tool, "version": version, "rules": rules}
    return {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": SARIF_VERSION,
        "runs": [
            {"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": results}
        ],
    }


def _result(one: Diagnostic, source: Source, used: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = {
        "ruleId": one.code,
        "ruleIndex": used.index(one.code),
        "level": one.severity,
        "message": {"text": " ".join([f"{one.message}.", *one.help, *one.notes])},
        "locations": [_location(one.span, source)],
    }
    if one.labels:
        found["relatedLocations"] = [
            {**_location(more.span, source), "message": {"text": more.text}} for more in one.labels
        ]
    if one.fixes:
        found["fixes"] = [
            {
                "description": {"text": fix.title},
                "artifactChanges": [
                    {
                        "artifactLocation": {"uri": _uri(source)},
                        "replacements": [
                            {
                                "deletedRegion": _region(edit.span, source),
                                "insertedContent": {"text": edit.text},
                            }
                            for edit in fix.edits
                        ],
                    }
                ],
            }
            for fix in one.fixes
        ]
    return found


def _location(span: Span, source: Source) -> dict[str, Any]:
    artifact = {"uri": _uri(source)}
    return {"physicalLocation": {"artifactLocation": artifact, "region": _region(span, source)}}


def _region(span: Span, source: Source) -> dict[str, int]:
    at = place(span, source)
    return {
        "startLine": at["line"],
        "startColumn": at["column"],
        "endLine": at["end_line"],
        "endColumn": at["end_column"],
    }


def _uri(source: Source) -> str:
    path = PurePath(source.path)
    return path.as_uri() if path.is_absolute() else path.as_posix()
