"""Speaks the Language Server Protocol over stdio for `.rwf` files; `lang.assist` knows the answers.

The only pygls. Texts are read anew at every change, which takes some milliseconds; while one does not
parse, names come from the last that did.
"""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote, urlparse

from lsprotocol import types as lsp
from pygls.exceptions import JsonRpcInvalidParams
from pygls.lsp.server import LanguageServer

from raftoral.lang.assist import Document
from raftoral.lang.calling import signatures
from raftoral.lang.diagnostics import Diagnostics, Edit, Fix
from raftoral.lang.fixing import applied
from raftoral.lang.format import format_source
from raftoral.lang.painting import KINDS, MARKS, painted
from raftoral.lang.read import read
from raftoral.lang.source import Source
from raftoral.lang.symbols import outline
from raftoral.registry.files import beside

if TYPE_CHECKING:
    from collections.abc import Sequence

    from raftoral.lang.diagnostics import Diagnostic
    from raftoral.lang.source import Span
    from raftoral.lang.symbols import Symbol

_KINDS: Final = {
    "keyword": lsp.CompletionItemKind.Keyword,
    "activity": lsp.CompletionItemKind.Method,
    "function": lsp.CompletionItemKind.Function,
    "field": lsp.CompletionItemKind.Field,
    "case": lsp.CompletionItemKind.EnumMember,
    "constant": lsp.CompletionItemKind.Constant,
    "signal": lsp.CompletionItemKind.Event,
}
_SYMBOLS: Final = {
    "activity": lsp.SymbolKind.Interface,
    "constant": lsp.SymbolKind.Constant,
    "enum": lsp.SymbolKind.Enum,
    "error": lsp.SymbolKind.Struct,
    "file": lsp.SymbolKind.Module,
    "function": lsp.SymbolKind.Function,
    "policy": lsp.SymbolKind.Constant,
    "record": lsp.SymbolKind.Struct,
    "workflow": lsp.SymbolKind.Class,
}


class _Open:
    """A text that an editor has open: as it is, and as it last parsed."""

    def __init__(self, path: Path, text: str) -> None:
        self.now = Document(str(path), text, beside(path))
        self.known = self.now

    def change(self, path: Path, text: str) -> None:
        """Take a new text."""
        self.now = Document(str(path), text, beside(path))
        if self.now.index is not None:
            self.known = self.now

    # The protocol counts columns in UTF-16; the language counts characters.
    def offset(self, position: lsp.Position) -> int:
        """Return the offset of a position, at most the end of its line."""
        source = self.now.source
        line = min(position.line, len(source.starts) - 1)
        text = source.line(line + 1)
        units = position.character
        for column, character in enumerate(text):
            if units <= 0:
                return source.starts[line] + column
            units -= 2 if ord(character) > 0xFFFF else 1
        return source.starts[line] + len(text)

    def position(self, offset: int) -> lsp.Position:
        """Return the position of an offset."""
        source = self.now.source
        line, column = source.place(min(offset, len(source.text)))
        before = source.line(line)[: column - 1]
        return lsp.Position(line - 1, len(before.encode("utf-16-le")) // 2)

    def range(self, span: Span) -> lsp.Range:
        """Return the range of a piece of the text."""
        return lsp.Range(self.position(span.start), self.position(span.end))

    def tokens(self) -> list[int]:
        """Return what is painted as the protocol wants it: five numbers each, seen from the last."""
        text = self.now.source.text
        found: list[int] = []
        column = last = at = 0
        for one in painted(text, self.now.index) if self.now.readable else ():
            between = text[at : one.start]
            lines = between.count("\n")
            column = (0 if lines else column) + _units(between[between.rfind("\n") + 1 :])
            bits = sum(1 << MARKS.index(mark) for mark in one.marks)
            word = _units(text[one.start : one.end])
            found += [lines, column if lines else column - last, word, KINDS.index(one.kind), bits]
            last, at = column, one.end
            column += word
        return found

    def edits(self, fix: Fix) -> list[lsp.TextEdit]:
        """Return the changes of a fix."""
        return [lsp.TextEdit(self.range(edit.span), edit.text) for edit in fix.edits]


def _units(text: str) -> int:
    """Return the length of a text in UTF-16."""
    return len(text) + sum(one > "\uffff" for one in text)


def _path(uri: str) -> Path:
    return Path(unquote(urlparse(uri).path))


class Server(LanguageServer):
    """The server, with the texts that are open."""

    def __init__(self, version: str) -> None:
        super().__init__("raftoral", version)
        self.open: dict[str, _Open] = {}

    def take(self, uri: str) -> None:
        """Read a text anew, and tell what is wrong with it."""
        document = self.workspace.get_text_document(uri)
        if uri in self.open:
            self.open[uri].change(_path(uri), document.source)
        else:
            self.open[uri] = _Open(_path(uri), document.source)
        text = self.open[uri]
        found = [_reported(one, text, uri) for one in text.now.read.diagnostics.all()]
        self.text_document_publish_diagnostics(
            lsp.PublishDiagnosticsParams(uri, found, document.version)
        )

    def at(self, place: Any) -> tuple[_Open, int]:
        """Return the open text of a request, and the offset that it asks about."""
        text = self.open[place.text_document.uri]
        return text, text.offset(place.position)


def _reported(one: Diagnostic, text: _Open, uri: str) -> lsp.Diagnostic:
    words = [one.message, *([one.label] if one.label else [])]
    words += [*(f"help: {more}" for more in one.help), *(f"note: {more}" for more in one.notes)]
    severity = lsp.DiagnosticSeverity
    unused = one.code in ("RWF0501", "RWF0502", "RWF0506", "RWF0232")
    return lsp.Diagnostic(
        text.range(one.span),
        "\n".join(words),
        severity.Error if one.severity == "error" else severity.Warning,
        one.code,
        source="raftoral",
        tags=[lsp.DiagnosticTag.Unnecessary] if unused else None,
        related_information=[
            lsp.DiagnosticRelatedInformation(
                lsp.Location(uri, text.range(label.span)), label.text or "see here"
            )
            for label in one.labels
        ],
    )


def make(version: str) -> Server:
    """Return a server that is ready to be started."""
    server = Server(version)
    _register_texts(server)
    _register_names(server)
    _register_looks(server)
    _register_changes(server)
    return server


def _register_texts(server: Server) -> None:
    @server.feature(lsp.TEXT_DOCUMENT_DID_OPEN)
    def opened(params: lsp.DidOpenTextDocumentParams) -> None:
        server.take(params.text_document.uri)

    @server.feature(lsp.TEXT_DOCUMENT_DID_CHANGE)
    def changed(params: lsp.DidChangeTextDocumentParams) -> None:
        server.take(params.text_document.uri)

    @server.feature(lsp.TEXT_DOCUMENT_DID_CLOSE)
    def closed(params: lsp.DidCloseTextDocumentParams) -> None:
        uri = params.text_document.uri
        server.open.pop(uri, None)
        server.text_document_publish_diagnostics(lsp.PublishDiagnosticsParams(uri, []))


def _register_names(server: Server) -> None:
    @server.feature(lsp.TEXT_DOCUMENT_HOVER)
    def hover(params: lsp.HoverParams) -> lsp.Hover | None:
        text, offset = server.at(params)
        found = text.now.hover(offset)
        if found is None:
            return None
        return lsp.Hover(lsp.MarkupContent(lsp.MarkupKind.Markdown, found[0]), text.range(found[1]))

    @server.feature(
        lsp.TEXT_DOCUMENT_COMPLETION, lsp.CompletionOptions(trigger_characters=[".", " "])
    )
    def completion(params: lsp.CompletionParams) -> list[lsp.CompletionItem]:
        text, offset = server.at(params)
        return [
            lsp.CompletionItem(
                one.text,
                kind=_KINDS.get(one.kind, lsp.CompletionItemKind.Variable),
                detail=one.about or None,
            )
            for one in text.now.offers(offset, text.known)
        ]

    @server.feature(
        lsp.TEXT_DOCUMENT_SIGNATURE_HELP, lsp.SignatureHelpOptions(trigger_characters=["(", ","])
    )
    def signature(params: lsp.SignatureHelpParams) -> lsp.SignatureHelp | None:
        text, offset = server.at(params)
        readable = text.now.readable
        found = signatures(text.now.source.text, offset, text.known) if readable else []
        shown = [
            lsp.SignatureInformation(
                one.label,
                documentation=one.about or None,
                parameters=[lsp.ParameterInformation(each) for each in one.parameters],
                active_parameter=one.active,
            )
            for one in found
        ]
        return lsp.SignatureHelp(shown, 0, found[0].active) if found else None

    @server.feature(lsp.TEXT_DOCUMENT_DEFINITION)
    def definition(params: lsp.DefinitionParams) -> lsp.Location | None:
        text, offset = server.at(params)
        one = text.now.index and text.now.index.at(offset)
        return lsp.Location(params.text_document.uri, text.range(one.span)) if one else None

    @server.feature(lsp.TEXT_DOCUMENT_REFERENCES)
    def references(params: lsp.ReferenceParams) -> list[lsp.Location]:
        text, offset = server.at(params)
        one = text.now.index and text.now.index.at(offset)
        uses = sorted(set(one.uses)) if one else []
        if one and not params.context.include_declaration:
            uses.remove(one.span)
        return [lsp.Location(params.text_document.uri, text.range(use)) for use in uses]

    @server.feature(lsp.TEXT_DOCUMENT_DOCUMENT_SYMBOL)
    def symbols(params: lsp.DocumentSymbolParams) -> list[lsp.DocumentSymbol]:
        text = server.open[params.text_document.uri]
        file = text.now.read.file
        return [
            lsp.DocumentSymbol(name, _SYMBOLS[kind], text.range(whole), text.range(place))
            for kind, name, place, whole in (outline(file) if file else ())
        ]


def _register_looks(server: Server) -> None:
    @server.feature(
        lsp.TEXT_DOCUMENT_SEMANTIC_TOKENS_FULL, lsp.SemanticTokensLegend([*KINDS], [*MARKS])
    )
    def tokens(params: lsp.SemanticTokensParams) -> lsp.SemanticTokens:
        return lsp.SemanticTokens(server.open[params.text_document.uri].tokens())


def _register_changes(server: Server) -> None:
    @server.feature(lsp.TEXT_DOCUMENT_RENAME)
    def rename(params: lsp.RenameParams) -> lsp.WorkspaceEdit | None:
        text, offset = server.at(params)
        one = text.now.index and text.now.index.at(offset)
        if not one:
            return None
        _check_rename(text, one, params.new_name)
        edits = [lsp.TextEdit(text.range(use), params.new_name) for use in sorted(set(one.uses))]
        return lsp.WorkspaceEdit({params.text_document.uri: edits})

    @server.feature(lsp.TEXT_DOCUMENT_FORMATTING)
    def formatting(params: lsp.DocumentFormattingParams) -> list[lsp.TextEdit]:
        return _formatted(server.open[params.text_document.uri])

    @server.feature(lsp.TEXT_DOCUMENT_RANGE_FORMATTING)
    def range_formatting(params: lsp.DocumentRangeFormattingParams) -> list[lsp.TextEdit]:
        first, last = params.range.start.line, params.range.end.line
        edits = _formatted(server.open[params.text_document.uri])
        return [e for e in edits if e.range.start.line <= last and e.range.end.line >= first]

    @server.feature(
        lsp.TEXT_DOCUMENT_CODE_ACTION,
        lsp.CodeActionOptions(code_action_kinds=[lsp.CodeActionKind.QuickFix]),
    )
    def actions(params: lsp.CodeActionParams) -> list[lsp.CodeAction]:
        uri = params.text_document.uri
        text = server.open[uri]
        start, end = text.offset(params.range.start), text.offset(params.range.end)
        return [
            lsp.CodeAction(
                fix.title,
                kind=lsp.CodeActionKind.QuickFix,
                diagnostics=[_reported(one, text, uri)],
                is_preferred=fix.safe,
                edit=lsp.WorkspaceEdit({uri: text.edits(fix)}),
            )
            for one in text.now.read.diagnostics.all()
            if one.span.start <= end and start <= one.span.end
            for fix in one.fixes
        ]


def _check_rename(text: _Open, one: Symbol, name: str) -> None:
    """Refuse a name with which the text would have more mistakes than it has."""
    fix = Fix("rename", tuple(Edit(use, name) for use in sorted(set(one.uses))))
    new, _ = applied(text.now.source.text, [fix])
    path = Path(text.now.source.path)
    found = read(Source(str(path), new).clean(), beside(path)).diagnostics.all()
    before = sum(d.severity == "error" for d in text.now.read.diagnostics.all())
    wrong = [d for d in found if d.severity == "error"]
    if len(wrong) > before:
        raise JsonRpcInvalidParams(f"`{name}` cannot be the name: {wrong[0].message}")


def _formatted(text: _Open) -> list[lsp.TextEdit]:
    """Return the changes of lines that give the canonical layout; none while it does not parse."""
    new = format_source(text.now.source, Diagnostics())
    if new is None:
        return []
    before, after = text.now.source.text.splitlines(True), new.splitlines(True)
    return [
        lsp.TextEdit(
            lsp.Range(lsp.Position(start, 0), lsp.Position(end, 0)), "".join(after[to:until])
        )
        for _, start, end, to, until in _changes(before, after)
    ]


def _changes(before: Sequence[str], after: Sequence[str]) -> list[tuple[str, int, int, int, int]]:
    matcher = difflib.SequenceMatcher(None, before, after, autojunk=False)
    return [change for change in matcher.get_opcodes() if change[0] != "equal"]
