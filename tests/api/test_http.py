"""The HTTP application over a node that is a dictionary."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import logging
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import httpx
import pytest

from raftoral import errors
from raftoral.api.app import ENDPOINTS, application
from raftoral.api.guard import BODY_BYTES_MAX
from raftoral.replay.history import Set, decode
from tests.api.fakes import FakeNode

Ask = Callable[..., httpx.Response]


def asker(node: FakeNode, bound_to: str = "127.0.0.1", url: str = "http://localhost:7480") -> Ask:
    """Return a function that sends one request to the application, without a socket."""

    def ask(method: str, path: str, **kwargs: Any) -> httpx.Response:
        async def once() -> httpx.Response:
            transport = httpx.ASGITransport(application(node, bound_to))
            async with httpx.AsyncClient(transport=transport, base_url=url) as client:
                return await client.request(method, path, **kwargs)

        return asyncio.run(once())

    return ask


@pytest.fixture
def node() -> FakeNode:
    """A node with nothing on it."""
    return FakeNode()


@pytest.fixture
def ask(node: FakeNode) -> Ask:
    """Ask that node."""
    return asker(node)


def problem(response: httpx.Response) -> tuple[int, str, str]:
    """Return status, code and message of a refusal."""
    body = response.json()
    assert set(body) == {"error"}
    assert set(body["error"]) == {"code", "message"}
    return response.status_code, body["error"]["code"], body["error"]["message"]


# ------------------------------------------------------------------ definitions
def test_deploy_answers_the_versions(ask: Ask) -> None:
    """Deploying a text answers each workflow's version, and whether this call added it."""
    first = ask("POST", "/v1/definitions", json={"source": "workflow order v1 {}"})
    again = ask("POST", "/v1/definitions", json={"source": "workflow order v1 {}"})
    assert first.status_code == 200
    assert first.json()["definitions"][0]["new"] is True
    assert again.json()["definitions"][0]["new"] is False
    assert ask("GET", "/v1/definitions").json()["definitions"][0]["name"] == "order"


def test_refused_definition_is_a_conflict_with_its_diagnostics(ask: Ask) -> None:
    """A text that does not compile answers 409 with the rendered diagnostics."""
    status, code, message = problem(
        ask("POST", "/v1/definitions", json={"source": "broken", "path": "a.rwf"})
    )
    assert (status, code) == (409, "definition_refused")
    assert "RWF0101" in message
    assert "a.rwf:1:1" in message


# ------------------------------------------------------------------ runs
def test_start_answers_the_run(ask: Ask, node: FakeNode) -> None:
    """Starting a run answers it as it stands, and exact numbers reach the node exactly."""
    answer = ask(
        "POST",
        "/v1/runs",
        content=b'{"name": "order", "input": {"total": 1.10}, "id": "o-1"}',
        headers={"content-type": "application/json"},
    )
    assert answer.status_code == 200
    assert answer.json()["id"] == "o-1"
    assert node.inputs["o-1"] == {"total": Decimal("1.10")}


def test_same_id_joins_and_another_input_conflicts(ask: Ask) -> None:
    """The same id with the same input is the same run; with another input it is refused."""
    body = {"name": "order", "input": {"a": 1}, "id": "o-1"}
    assert ask("POST", "/v1/runs", json=body).status_code == 200
    assert ask("POST", "/v1/runs", json=body).status_code == 200
    status, code, _ = problem(ask("POST", "/v1/runs", json={**body, "input": {"a": 2}}))
    assert (status, code) == (409, "run_conflict")


def test_waiting_ends_with_the_run_as_it_stands(ask: Ask) -> None:
    """wait_ms answers the end of a run, and a run that goes on as it stands, with status 200."""
    ended = ask("POST", "/v1/runs", json={"name": "order", "id": "a", "wait_ms": 1_000})
    going = ask("POST", "/v1/runs", json={"name": "slow", "id": "b", "wait_ms": 10})
    assert ended.json()["status"] == "completed"
    assert (going.status_code, going.json()["status"]) == (200, "running")
    assert ask("GET", "/v1/runs/b?wait_ms=10").json()["status"] == "running"
    assert ask("GET", "/v1/runs/a").json()["status"] == "completed"


def test_a_failed_run_is_shown_as_data(ask: Ask) -> None:
    """A run that failed answers 200: the failure is the run's, not the request's."""
    body = ask("POST", "/v1/runs", json={"name": "broken", "wait_ms": 100}).json()
    assert body["status"] == "failed"
    assert body["error"] == {
        "name": "CardDeclined",
        "message": "no money",
        "details": {"code": "51"},
    }


def test_unknown_run_and_definition_are_not_found(ask: Ask) -> None:
    """What does not exist answers 404 with a code that tells which."""
    assert problem(ask("GET", "/v1/runs/none"))[:2] == (404, "unknown_run")
    start = ask("POST", "/v1/runs", json={"name": "nothing"})
    assert problem(start)[:2] == (404, "unknown_definition")


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({}, "name"),
        ({"name": 3}, "name"),
        ({"name": "order", "inputs": {}}, "'inputs'"),
        ({"name": "order", "input": 3}, "object of the workflow's parameters"),
        ({"name": "order", "version": "new"}, "version"),
        ([1], "JSON object"),
    ],
)
def test_a_wrong_body_is_told(ask: Ask, body: object, says: str) -> None:
    """A body that lacks a field, has a wrong kind or an unknown name answers 400 and says which."""
    status, code, message = problem(ask("POST", "/v1/runs", json=body))
    assert (status, code) == (400, "invalid_input")
    assert says in message


def test_text_that_is_no_json_is_told(ask: Ask) -> None:
    """A body that is no JSON answers 400."""
    answer = ask("POST", "/v1/runs", content=b"{", headers={"content-type": "application/json"})
    assert problem(answer)[:2] == (400, "invalid_input")


def test_list_pages(ask: Ask) -> None:
    """A full page names the run to ask on behind; the last page names none."""
    for n in range(3):
        ask("POST", "/v1/runs", json={"name": "order", "id": f"o-{n}"})
    first = ask("GET", "/v1/runs?limit=2").json()
    last = ask("GET", "/v1/runs", params={"limit": 2, "after": first["after"]}).json()
    assert [run["id"] for run in first["runs"]] == ["o-2", "o-1"]
    assert [run["id"] for run in last["runs"]] == ["o-0"]
    assert last["after"] is None


def test_list_filters(ask: Ask) -> None:
    """Status and name select; an unknown status or a strange limit is told."""
    ask("POST", "/v1/runs", json={"name": "order", "id": "a"})
    ask("POST", "/v1/runs", json={"name": "slow", "id": "b"})
    assert [r["id"] for r in ask("GET", "/v1/runs?status=running").json()["runs"]] == ["b"]
    assert [r["id"] for r in ask("GET", "/v1/runs?name=order").json()["runs"]] == ["a"]
    for query in ("status=odd", "limit=0", "limit=x", "limit=100000"):
        assert problem(ask("GET", f"/v1/runs?{query}"))[:2] == (400, "invalid_input")


def test_a_parameter_of_the_query_that_is_not_known_is_refused() -> None:
    """What is misspelt would change nothing, so it is told, with the names that there are."""
    ask = asker(FakeNode())
    code, kind, message = problem(ask("GET", "/v1/runs?stauts=running"))
    assert (code, kind) == (400, "invalid_input")
    assert "no parameter 'stauts' of the query here; there are: status, name, version" in message
    assert "this path takes none" in problem(ask("GET", "/v1/nodes?limit=1"))[2]
    assert problem(ask("POST", "/v1/runs/r/pause?reason=x", json={}))[:2] == (400, "invalid_input")


def test_signal_reaches_the_node(ask: Ask, node: FakeNode) -> None:
    """A signal is passed on with its payload and id."""
    ask("POST", "/v1/runs", json={"name": "slow", "id": "b"})
    answer = ask("POST", "/v1/runs/b/signals/paid", json={"payload": {"by": "x"}, "id": "s1"})
    assert answer.json() == {"ok": True}
    assert node.signals == [("b", "paid", {"by": "x"}, "s1")]


def test_history_has_text_and_canonical_bytes(ask: Ask) -> None:
    """Each event comes as JSON, as a line and as the bytes that the digest is taken over."""
    ask("POST", "/v1/runs", json={"name": "order", "id": "a"})
    body = ask("GET", "/v1/runs/a/history").json()
    data = [base64.b64decode(event["bytes"]) for event in body["events"]]
    assert decode(data[1]) == Set("status", "paid")
    assert body["events"][1]["fields"] == {"path": "status", "value": "paid"}
    assert body["events"][1]["text"]
    assert hashlib.sha256(b"".join(data)).hexdigest() == body["sha256"]
    assert body["node"] == 1
    assert ask("GET", "/v1/runs/a/history?local=1").json()["node"] == 2


# ------------------------------------------------------------------ the cluster
def test_cluster_paths(ask: Ask) -> None:
    """Status and nodes answer what the node sees."""
    assert ask("GET", "/v1/status").json()["cluster"] == "c1"
    assert ask("GET", "/v1/nodes").json()["nodes"][0]["role"] == "leader"


def test_a_node_is_removed_by_number_or_name(ask: Ask, node: FakeNode) -> None:
    """The path names the node; the body is an empty object, so that no page can ask for it."""
    assert ask("POST", "/v1/nodes/2/remove", json={}).json() == {"ok": True}
    assert ask("POST", "/v1/nodes/b/remove", json={}).status_code == 200
    assert node.removed == ["2", "b"]
    assert problem(ask("POST", "/v1/nodes/9/remove", json={}))[:2] == (404, "unknown_node")
    assert problem(ask("POST", "/v1/nodes/2/remove", json={"force": 1}))[0] == 400
    assert problem(ask("POST", "/v1/nodes/2/remove"))[:2] == (415, "unsupported_media_type")
    assert node.removed == ["2", "b"]


def test_health_is_whether_a_leader_is_known(node: FakeNode, ask: Ask) -> None:
    """A node serves while the groups that it is in have a leader; otherwise 503 says which has none."""
    assert ask("GET", "/healthz").json() == {"ok": True, "node": 1, "reason": ""}
    node.leader = 0
    answer = ask("GET", "/healthz")
    assert (answer.status_code, answer.json()["ok"]) == (503, False)
    assert "group 1" in answer.json()["reason"]


def test_openapi_describes_every_endpoint(ask: Ask) -> None:
    """The page holds each path and method, and every schema that it points to."""
    page = ask("GET", "/openapi.json").json()
    described = {(m.upper(), path) for path, item in page["paths"].items() for m in item}
    assert described == {(e.method, e.path) for e in ENDPOINTS}
    text = json.dumps(page["paths"])
    for name in ("RunView", "DeployRequest", "Failure", "ClusterView"):
        assert f"#/components/schemas/{name}" in text
        assert name in page["components"]["schemas"]


def test_unknown_path_and_method_are_json_too(ask: Ask) -> None:
    """A path or method that is not there answers in the shape of every other refusal."""
    assert problem(ask("GET", "/v2/runs"))[:2] == (404, "not_found")
    assert problem(ask("GET", "/v1/runs/a/signals/b"))[:2] == (405, "method_not_allowed")
    for method in ("OPTIONS", "TRACE", "DELETE"):
        answer = ask(method, "/v1/runs/a/signals/b")
        assert problem(answer)[:2] == (405, "method_not_allowed")
        assert answer.headers["allow"] == "POST"


# ------------------------------------------------------------------ errors
@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (errors.UsageError("x"), 400, "usage"),
        (errors.InvalidInput("x"), 400, "invalid_input"),
        (errors.UnknownRun("x"), 404, "unknown_run"),
        (errors.RunEnded("x"), 409, "run_ended"),
        (errors.LimitExceeded("x"), 413, "limit_exceeded"),
        (errors.NotLeader(), 503, "not_leader"),
        (errors.ProposalUnknown("x"), 503, "proposal_unknown"),
        (errors.NodeStopped("x"), 503, "node_stopped"),
        (errors.StorageFailed("x"), 500, "storage_failed"),
    ],
)
def test_errors_keep_their_code(
    node: FakeNode, ask: Ask, error: Exception, status: int, code: str
) -> None:
    """Each error answers with its stable code and a status that tells whose turn it is."""
    node.failing = error
    answer = ask("GET", "/v1/status")
    assert problem(answer)[:2] == (status, code)
    assert ("retry-after" in answer.headers) is (status == 503)


def test_unexpected_errors_are_logged_not_told(
    node: FakeNode, ask: Ask, caplog: pytest.LogCaptureFixture
) -> None:
    """A bug answers 500 ``internal`` without its words; the node's log has them."""
    node.failing = ZeroDivisionError("the secret of the house")
    with caplog.at_level(logging.ERROR, "raftoral.api"):
        answer = ask("GET", "/v1/status")
    assert problem(answer)[:2] == (500, "internal")
    assert "secret" not in answer.text
    assert caplog.records[0].exc_info is not None


# ------------------------------------------------------------------ the guard
@pytest.mark.parametrize("host", ["localhost:7480", "127.0.0.1:7480", "[::1]:7480", "127.8.9.1"])
def test_loopback_hosts_are_served(ask: Ask, host: str) -> None:
    """Every way to write this machine is served."""
    assert ask("GET", "/healthz", headers={"host": host}).status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example:7480", "10.0.0.9", ""])
def test_other_hosts_are_refused(ask: Ask, host: str) -> None:
    """A page that pointed its own name at 127.0.0.1 gets nothing."""
    assert problem(ask("GET", "/healthz", headers={"host": host}))[:2] == (403, "forbidden_host")


def test_the_host_that_it_was_bound_to_is_served(node: FakeNode) -> None:
    """Bound elsewhere on purpose, that host is served too, and with every interface any address."""
    there = asker(node, "node-a.internal")
    assert there("GET", "/healthz", headers={"host": "node-a.internal:80"}).status_code == 200
    assert there("GET", "/healthz", headers={"host": "evil.example"}).status_code == 403
    everywhere = asker(node, "0.0.0.0")
    assert everywhere("GET", "/healthz", headers={"host": "10.0.0.9:80"}).status_code == 200
    assert everywhere("GET", "/healthz", headers={"host": "evil.example"}).status_code == 403


@pytest.mark.parametrize("kind", [None, "text/plain", "application/x-www-form-urlencoded"])
def test_bodies_that_a_page_can_send_are_refused(
    node: FakeNode, ask: Ask, kind: str | None
) -> None:
    """What a page may send to another origin unasked is refused before it is read."""
    headers = {} if kind is None else {"content-type": kind}
    answer = ask("POST", "/v1/runs", content=b'{"name": "order"}', headers=headers)
    assert problem(answer)[:2] == (415, "unsupported_media_type")
    assert not node.runs


def test_large_bodies_are_refused(ask: Ask) -> None:
    """More than 1 MiB is refused by its announced length, and by counting where none is announced."""
    large = b'{"source": "' + b"x" * BODY_BYTES_MAX + b'"}'
    headers = {"content-type": "application/json"}
    announced = ask("POST", "/v1/definitions", content=large, headers=headers)
    assert problem(announced)[:2] == (413, "limit_exceeded")

    async def unannounced() -> Any:
        for at in range(0, len(large), 65_536):
            yield large[at : at + 65_536]

    counted = ask("POST", "/v1/definitions", content=unannounced(), headers=headers)
    assert problem(counted)[:2] == (413, "limit_exceeded")
