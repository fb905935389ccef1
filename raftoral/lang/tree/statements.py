"""Reductions of statements."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lark import Token

from raftoral.lang import ast
from raftoral.lang.tree import literals
from raftoral.lang.tree.expressions import Expressions
from raftoral.lang.tree.tokens import at, ident, last, maybe, span

if TYPE_CHECKING:
    from raftoral.lang.ast import Ident
    from raftoral.lang.source import Span


class Statements(Expressions):
    """One method a rule; ``c`` are its children."""

    def block(self, c: list[Any]) -> ast.Block:
        return ast.Block(span(c[0], c[-1]), tuple(c[1:-1]))

    # values and leaving
    def let_stmt(self, c: list[Any]) -> ast.Let:
        return ast.Let(span(c[0], c[5]), ident(c[1]), c[3], c[5], c[0].value == "var")

    def assign_stmt(self, c: list[Any]) -> ast.Assign:
        return ast.Assign(span(c[0], c[1]), ident(c[0]), c[1])

    def require_stmt(self, c: list[Any]) -> ast.Require:
        return ast.Require(span(c[0], c[3]), c[1], c[3])

    def return_stmt(self, c: list[Any]) -> ast.Return:
        return ast.Return(span(c[0], c[1]), c[1])

    def fail_stmt(self, c: list[Any]) -> ast.Fail:
        return ast.Fail(span(c[0], c[1]), c[1])

    def give_stmt(self, c: list[Any]) -> ast.Give:
        return ast.Give(span(c[0], c[1]), c[1])

    def break_stmt(self, c: list[Any]) -> ast.Break:
        return ast.Break(at(c[0]))

    def continue_stmt(self, c: list[Any]) -> ast.Continue:
        return ast.Continue(at(c[0]))

    # effects
    def checkpoint_stmt(self, c: list[Any]) -> ast.CheckpointStmt:
        return ast.CheckpointStmt(span(c[0], c[5]), ident(c[1]), c[3], c[5])

    def compute_stmt(self, c: list[Any]) -> ast.ComputeStmt:
        name, kind = c[1] or (None, None)
        return ast.ComputeStmt(
            span(c[0], last(c)), name, kind, c[2], c[4], tuple(c[6:-1]), compensate=c[-1]
        )

    def binding(self, c: list[Any]) -> tuple[Ident, ast.TypeRef | None]:
        return ident(c[0]), c[1]

    def compensate(self, c: list[Any]) -> ast.Compensate:
        return ast.Compensate(span(c[0], c[-1]), c[1], c[3], tuple(c[5:]))

    def child_stmt(self, c: list[Any]) -> ast.ChildStmt:
        name, kind = c[1] or (None, None)
        version = None if c[4] is None else literals.whole(c[4])
        detached = c[0].value == "start"
        return ast.ChildStmt(
            span(c[0], last(c)), detached, name, kind, c[2], version, c[6], maybe(c[9])
        )

    def callback_stmt(self, c: list[Any]) -> ast.CallbackStmt:
        return ast.CallbackStmt(span(c[0], c[-1]), ident(c[1]), c[3], tuple(c[4:]))

    def sleep_stmt(self, c: list[Any]) -> ast.Sleep:
        return ast.Sleep(span(c[0], c[2]), c[2], c[1] is not None)

    def await_stmt(self, c: list[Any]) -> ast.Await:
        return ast.Await(span(c[0], last(c)), ident(c[1]), maybe(c[3]), c[5], c[7], c[9])

    def log_stmt(self, c: list[Any]) -> ast.Log:
        return ast.Log(span(c[0], c[1]), c[1])

    def restart_stmt(self, c: list[Any]) -> ast.Restart:
        return ast.Restart(span(c[0], c[-1]), c[3])

    def undo_stmt(self, c: list[Any]) -> ast.Undo:
        return ast.Undo(at(c[0]))

    # clauses
    def retry(self, c: list[Any]) -> ast.Retry:
        return ast.Retry(span(c[0], c[1]), *_retry_of(c[1]))

    def retry_policy(self, c: list[Any]) -> ast.RetryPolicy:
        return ast.RetryPolicy(span(c[0], c[1]), c[1])

    def retry_body(self, c: list[Any]) -> ast.Retry:
        count: Token = c[0]
        attempts = 1 if count.value == "never" else literals.whole(count)
        end = last(c[:2])
        if c[2] is not None:
            end = c[2][1]
        if c[3]:
            end = c[3][-1]
        jitter = 0 if c[2] is None else c[2][0]
        return ast.Retry(span(count, end), attempts, c[1], jitter, c[3] or ())

    def backoff(self, c: list[Any]) -> ast.Backoff:
        factor = 200
        if c[5] is not None:
            factor = min(int(literals.exact(c[5].value, at(c[5])) * 100), 1_000_000)
        return ast.Backoff(span(c[0], last(c)), c[1], c[3], factor)

    def jitter(self, c: list[Any]) -> tuple[int, Token]:
        return literals.percent(c[0]), c[0]

    def retry_on(self, c: list[Any]) -> tuple[Ident, ...]:
        names: tuple[Ident, ...] = c[0]
        return names

    def timeout(self, c: list[Any]) -> ast.Timeout:
        return ast.Timeout(span(c[0], c[1]), c[1])

    def deadline(self, c: list[Any]) -> ast.Deadline:
        return ast.Deadline(span(c[0], c[1]), c[1])

    def heartbeat(self, c: list[Any]) -> ast.Heartbeat:
        return ast.Heartbeat(span(c[0], c[1]), c[1])

    def key(self, c: list[Any]) -> ast.Key:
        return ast.Key(span(c[0], c[1]), c[1])

    def at_most_once(self, c: list[Any]) -> ast.AtMostOnce:
        return ast.AtMostOnce(at(c[0]))

    # what a workflow declares in its body
    def signal_def(self, c: list[Any]) -> ast.SignalDef:
        return ast.SignalDef(span(c[0], c[-1]), ident(c[1]), c[3])

    def query_def(self, c: list[Any]) -> ast.QueryDef:
        return ast.QueryDef(span(c[0], c[5]), ident(c[1]), c[3], c[5])

    def update_def(self, c: list[Any]) -> ast.UpdateDef:
        return ast.UpdateDef(span(c[0], last(c)), ident(c[1]), c[3], c[6])

    # choosing and repeating
    def if_stmt(self, c: list[Any]) -> ast.If:
        otherwise = c[-1]
        body = [x for x in c[:-2] if type(x) is not Token]
        arms = tuple(ast.Arm(body[n], body[n + 1]) for n in range(0, len(body), 2))
        return ast.If(span(c[0], otherwise or body[-1]), arms, otherwise)

    def match_stmt(self, c: list[Any]) -> ast.Match:
        return ast.Match(span(c[0], c[-1]), c[1], tuple(c[3:-1]))

    def case(self, c: list[Any]) -> ast.Case:
        return ast.Case(span(c[0], c[4]), c[1], c[3], c[4])

    def while_stmt(self, c: list[Any]) -> ast.While:
        return ast.While(span(c[0], c[4]), c[1], c[3], c[4])

    def for_stmt(self, c: list[Any]) -> ast.For:
        index, variable = c[1]
        return ast.For(span(c[0], c[7]), index, variable, c[3], c[5], c[6], c[7])

    def fan(self, c: list[Any]) -> ast.Fan:
        return ast.Fan(span(c[0], last(c)), c[2], c[4], c[6], _place(c[7]), maybe(c[9]))

    def percent(self, c: list[Any]) -> ast.Share:
        return ast.Share(at(c[0]), literals.percent(c[0]))

    def try_stmt(self, c: list[Any]) -> ast.Try:
        catches = tuple(x for x in c[2:-2] if type(x) is ast.Catch)
        end = c[-1] or (catches[-1] if catches else c[1])
        return ast.Try(span(c[0], end), c[1], catches, c[-1])

    def catch(self, c: list[Any]) -> ast.Catch:
        return ast.Catch(span(c[0], c[3]), c[1] or (), maybe(c[2]), c[3])

    # branches
    def saga_stmt(self, c: list[Any]) -> ast.Saga:
        return ast.Saga(span(c[0], c[1]), c[1])

    def parallel_stmt(self, c: list[Any]) -> ast.Parallel:
        branches = tuple(x for x in c[11:] if type(x) is ast.Branch)
        told, name = _place(c[7]), maybe(c[9])
        return ast.Parallel(span(c[0], c[-1]), c[2], c[4], c[6], told, name, branches)

    def branch(self, c: list[Any]) -> ast.Branch:
        return ast.Branch(span(c[0], c[2]), ident(c[1]), c[2])

    def race_stmt(self, c: list[Any]) -> ast.Race:
        return ast.Race(span(c[0], c[-1]), maybe(c[2]), tuple(c[4:-1]))

    def on_arm(self, c: list[Any]) -> ast.OnArm:
        return ast.OnArm(span(c[0], c[6]), ident(c[1]), maybe(c[3]), c[5], c[6])

    def after_arm(self, c: list[Any]) -> ast.AfterArm:
        return ast.AfterArm(span(c[0], c[2]), c[1], c[2])


def _place(word: Token | None) -> Span | None:
    return None if word is None else at(word)


def _retry_of(body: ast.Retry) -> tuple[int, ast.Backoff | None, int, tuple[Ident, ...]]:
    return body.attempts, body.backoff, body.jitter_percent, body.only
