"""The paths about runs and schedules, over a node that keeps what it is asked."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from raftoral import errors
from raftoral.api.app import ENDPOINTS, application
from raftoral.api.failures import status_of
from raftoral.api.server import serve
from raftoral.client.http import Client
from tests.api.fakes import SCHEDULE, FakeNode
from tests.api.test_http import asker, problem
from tests.api.test_server import with_client

if TYPE_CHECKING:
    from collections.abc import Callable

NINE = datetime(2026, 11, 25, 9, tzinfo=UTC)
CHILD = "p/0/k[1]/b"


class Exactly:
    """Equal to a failure of this name, message and details."""

    def __init__(self, name: str, message: str, details: dict[str, Any]) -> None:
        self.fields = (name, message, details)

    def __eq__(self, other: object) -> bool:
        assert isinstance(other, errors.WorkflowFailed)
        return (other.name, other.message, other.details) == self.fields

    __hash__ = None  # type: ignore[assignment]


class Some:
    """Equal to any id that a client makes."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, str) and len(other) == 32

    __hash__ = None  # type: ignore[assignment]


SOME = Some()


@pytest.mark.parametrize(
    ("use", "expected", "answer"),
    [
        (
            lambda c: c.cancel("r", "enough", request="q"),
            ("cancel", ("r",), {"reason": "enough", "request": "q"}),
            None,
        ),
        (
            lambda c: c.terminate(CHILD),
            ("terminate", (CHILD,), {"reason": "", "request": SOME}),
            None,
        ),
        (
            lambda c: c.pause("r", "lunch"),
            ("pause", ("r",), {"reason": "lunch", "request": SOME}),
            None,
        ),
        (lambda c: c.resume("a b"), ("resume", ("a b",), {"request": SOME}), None),
        (
            lambda c: c.update("r", "add it", 3, id="u1", timeout=2),
            ("update", ("r", "add it", 3), {"id": "u1", "timeout": pytest.approx(2, abs=0.5)}),
            {"total": 3},
        ),
        (
            lambda c: c.query(CHILD, "progress", consistent=True),
            ("query", (CHILD, "progress"), {"consistent": True}),
            {"done": 3},
        ),
        (lambda c: c.complete_callback("t", [1]), ("complete_callback", ("t", [1]), {}), None),
        (
            lambda c: c.fail_callback("t", "Declined", "no money", {"code": 51}),
            ("fail_callback", ("t", Exactly("Declined", "no money", {"code": 51})), {}),
            None,
        ),
        (lambda c: c.beat_callback("t"), ("beat_callback", ("t",), {}), None),
        (
            lambda c: c.put_schedule(
                "nightly",
                "report",
                {"day": 1},
                when="0 3 * * *",
                zone="Europe/Berlin",
                overlap="buffer_one",
                start=NINE,
                catch_up="1h",
            ),
            (
                "put_schedule",
                ("nightly", "report", {"day": 1}),
                {
                    "when": "0 3 * * *",
                    "zone": "Europe/Berlin",
                    "version": None,
                    "overlap": "buffer_one",
                    "start": NINE,
                    "end": None,
                    "catch_up": "1h",
                },
            ),
            SCHEDULE,
        ),
        (lambda c: c.schedule("nightly"), ("schedule", ("nightly",), {}), SCHEDULE),
        (lambda c: c.schedules(), ("schedules", (), {}), [SCHEDULE]),
        (
            lambda c: c.pause_schedule("nightly", "holiday"),
            ("pause_schedule", ("nightly",), {"reason": "holiday", "request": SOME}),
            None,
        ),
        (
            lambda c: c.resume_schedule("nightly", request="q"),
            ("resume_schedule", ("nightly",), {"request": "q"}),
            None,
        ),
        (
            lambda c: c.trigger_schedule("nightly", NINE),
            ("trigger_schedule", ("nightly",), {"at": NINE}),
            "nightly@1",
        ),
        (
            lambda c: c.backfill_schedule("nightly", NINE, NINE),
            ("backfill_schedule", ("nightly", NINE, NINE), {}),
            ["nightly@1", "nightly@2"],
        ),
    ],
)
def test_what_a_client_asks_reaches_the_node(
    use: Callable[[Client], object], expected: tuple[Any, ...], answer: object
) -> None:
    """Each call of the client is that call of the node, with the same names, texts and times."""
    node = FakeNode()
    assert with_client(node, use) == answer
    assert node.calls == [expected]


def test_a_schedule_is_dropped_as_it_was_seen() -> None:
    """A drop whose answer was lost and that is asked again removes no schedule put since then."""
    node = FakeNode()
    with_client(node, lambda client: client.drop_schedule("nightly"))
    assert node.calls == [
        ("schedule", ("nightly",), {}),
        ("drop_schedule", ("nightly",), {"revision": SCHEDULE.revision}),
    ]


def test_a_change_that_is_repeated_carries_the_same_request() -> None:
    """A client that got no answer asks with the same id, so that the change is made once."""
    asked: list[str] = []

    def handler(request: httpx.Request) -> httpx.Response:
        asked.append(json.loads(request.content)["request"])
        if len(asked) % 2:
            raise httpx.ReadError("gone")
        return httpx.Response(200, json={"ok": True})

    with Client(transport=httpx.MockTransport(handler)) as client:
        client.pause("r")
        client.pause("r")
    assert asked[0] == asked[1] != asked[2] == asked[3]


def test_a_start_carries_its_policy_and_a_fork_its_place() -> None:
    """Policy, position and new id arrive; a retry names the generation that was seen."""
    node = FakeNode()

    def use(client: Client) -> None:
        client.start("broken", id="r", policy="retry_failed")
        assert client.fork("r", 2, new_id="copy").id == "copy"
        assert client.show("copy").events == 2
        assert client.retry("r") == 4

    with_client(node, use)
    assert node.policies == ["retry_failed"]
    assert node.requests[0], "so that a start whose answer was lost can be repeated"
    assert node.calls == [("retry", ("r",), {"generation": 0})]


def test_lists_are_filtered_by_what_the_client_says() -> None:
    """Versions, instants and attributes arrive as what they are."""
    node = FakeNode()

    def use(client: Client) -> None:
        client.runs(
            version=2,
            started_after=NINE,
            started_before=NINE,
            attributes={"status": "paid", "total": 3},
        )

    with_client(node, use)
    assert node.filters == {
        "version": 2,
        "started_after": NINE,
        "started_before": NINE,
        "attributes": {"status": "paid", "total": 3},
    }


@pytest.mark.parametrize(
    ("method", "path", "body", "says"),
    [
        ("POST", "/v1/runs", {"name": "order", "policy": "maybe"}, "no policy 'maybe'"),
        ("GET", "/v1/runs?started_after=yesterday", None, "2026-11-25T09:00:00Z, not 'yesterday'"),
        ("GET", "/v1/runs?started_before=2026-11-25", None, "is an instant"),
        ("GET", "/v1/runs?attributes=[1]", None, "attributes is a JSON object"),
        ("GET", "/v1/runs?version=two", None, "version is a whole number"),
        ("GET", "/v1/runs?limit=\N{ARABIC-INDIC DIGIT THREE}", None, "limit is a whole number"),
        ("GET", "/v1/runs?limit=1234567890", None, "of at most 9 digits"),
        ("PUT", "/v1/schedules/s", {"name": "order"}, "when"),
        ("PUT", "/v1/schedules/s", {"name": "o", "when": "x", "overlap": "no"}, "no overlap 'no'"),
        ("POST", "/v1/schedules/s/backfill", {"start": "", "end": ""}, "start is an instant"),
        ("POST", "/v1/schedules/s/trigger", {"at": "noon"}, "at is an instant"),
        ("POST", "/v1/runs/r/retry", {"generation": "one"}, "generation"),
        ("POST", "/v1/callbacks/complete", {"value": 1}, "token"),
    ],
)
def test_a_wrong_request_is_told(method: str, path: str, body: object, says: str) -> None:
    """What cannot be meant answers 400 and says what would be."""
    node = FakeNode()
    sent = {} if body is None else {"json": body}
    status, code, message = problem(asker(node)(method, path, **sent))
    assert (status, code) == (400, "invalid_input")
    assert says in message
    assert not node.calls


def test_json_that_is_nested_without_an_end_is_told() -> None:
    """A body of a hundred thousand brackets is refused in words, as nothing that the node met."""
    body = b'{"name": "order", "input": {"n": ' + b"[" * 100_000
    headers = {"content-type": "application/json"}
    answer = asker(FakeNode())("POST", "/v1/runs", content=body, headers=headers)
    assert problem(answer) == (400, "invalid_input", "this JSON is nested too deeply")


def test_an_update_that_is_not_answered_is_no_error() -> None:
    """The answer says so, and the client asks again until its own time is up."""
    node = FakeNode()
    waited: list[float] = []

    async def update(*_args: Any, timeout: float, **_kwargs: Any) -> Any:
        waited.append(timeout)
        raise TimeoutError

    node.update = update  # type: ignore[attr-defined]
    assert asker(node)("POST", "/v1/runs/r/updates/add", json={"wait_ms": 5}).json() == {
        "answered": False,
        "value": None,
    }

    def use(client: Client) -> None:
        with pytest.raises(TimeoutError, match="ask again with the same id"):
            client.update("r", "add", timeout=0)

    with_client(node, use)
    assert waited == [0.005, 0.0]


# ------------------------------------------------------------------ streams
def test_a_run_is_watched_until_the_time_is_up() -> None:
    """Each change of the standing is told; after the timeout the stream ends in good order."""
    node = FakeNode()

    def use(client: Client) -> None:
        client.start("slow", id="s")
        client.start("order", id="o")
        assert [(v.status, v.reason) for v in client.watch("s", 0.2)] == [
            ("running", ""),
            ("paused", "lunch"),
        ]
        assert client.wait("s", 0.1).status == "running"
        assert [view.status for view in client.watch("o")] == ["completed"]

    with_client(node, use)


def test_followed_steps_go_on_where_they_were_broken_off() -> None:
    """A stream that the node had to break off is asked for again behind the last step."""
    node = FakeNode(breaks=errors.NodeStopped("this node was stopped"))

    def use(client: Client) -> None:
        client.start("order", id="o")
        steps = list(client.follow("o"))
        assert [(each["generation"], each["position"], each["kind"]) for each in steps] == [
            (1, 0, "Started"),
            (1, 1, "Set"),
            (1, 2, "Ended"),
        ]

    with_client(node, use)


def test_a_stream_tells_an_error_as_any_other_answer_does() -> None:
    """Before the first event it is a refusal with its status, behind it an event of its own."""
    node = FakeNode(breaks=errors.LimitExceeded("too much"))
    ask = asker(node)
    assert problem(ask("GET", "/v1/runs/nobody/watch"))[:2] == (404, "unknown_run")
    assert problem(ask("GET", "/v1/runs/nobody/events"))[:2] == (404, "unknown_run")
    ask("POST", "/v1/runs", json={"name": "order", "id": "o"})
    answer = ask("GET", "/v1/runs/o/events")
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.text.endswith(
        'event: error\ndata: {"code":"limit_exceeded","message":"too much"}\n\n'
    )
    again = ask("GET", "/v1/runs/o/events", headers={"last-event-id": "1.0"})
    assert "id: 1.0\n" not in again.text
    assert again.text.startswith("id: 1.1\nevent: step\n")
    assert again.text.endswith("event: end\ndata: {}\n\n")
    bad = ask("GET", "/v1/runs/o/events", headers={"last-event-id": "x"})
    assert problem(bad)[:2] == (400, "invalid_input")

    def use(client: Client) -> None:
        node.breaks = errors.LimitExceeded("too much")
        with pytest.raises(errors.LimitExceeded, match="too much"):
            list(client.follow("o"))

    with_client(node, use)


def test_a_silent_stream_shows_that_it_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    """While nothing happens comments are sent, and they are no events."""
    monkeypatch.setattr("raftoral.api.streams.ALIVE_SECONDS", 0.02)
    node = FakeNode()
    ask = asker(node)
    ask("POST", "/v1/runs", json={"name": "slow", "id": "s"})
    answer = ask("GET", "/v1/runs/s/watch?wait_ms=200")
    assert answer.text.count(": waiting\n\n") >= 2
    assert answer.text.count("event: run\n") == 2


def test_who_goes_away_stops_the_stream() -> None:
    """When the caller hangs up, the node is asked no more."""
    node = FakeNode()
    left = asyncio.Event()

    async def watch(_id: str) -> Any:
        try:
            yield await node.show("s")
            await asyncio.sleep(60)
        finally:
            left.set()

    node.watch = watch  # type: ignore[method-assign]

    async def main() -> None:
        await node.start_run("slow", {}, id="s")
        app = application(node)
        sent: list[Any] = []
        gone = asyncio.Event()

        async def receive() -> Any:
            await gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            sent.append(message)
            if message["type"] == "http.response.body":
                gone.set()

        scope = {
            "type": "http", "method": "GET", "path": "/v1/runs/s/watch", "query_string": b"",
            "raw_path": b"/v1/runs/s/watch", "headers": [(b"host", b"localhost")],
            "http_version": "1.1", "scheme": "http", "root_path": "", "asgi": {"version": "3.0"},
        }  # fmt: skip
        async with asyncio.timeout(10):
            await app(scope, receive, send)
            await left.wait()
        assert sent[0]["status"] == 200

    asyncio.run(main())


# ------------------------------------------------------------------ names and errors
def test_a_slash_in_a_name_is_part_of_the_name() -> None:
    """The id of a child goes through as it is; a plain slash still ends a segment."""
    node = FakeNode()
    ask = asker(node)
    assert ask("POST", "/v1/runs/p%2F0%2Fhistory/cancel", json={}).status_code == 200
    assert ask("POST", "/v1/runs/p%2f0%2fa%252Fb/pause", json={}).status_code == 200
    assert [each[1] for each in node.calls] == [("p/0/history",), ("p/0/a%2Fb",)]
    assert problem(ask("POST", "/v1/runs/p/0/a/cancel", json={}))[:2] == (404, "not_found")


def _kinds(root: type[errors.RaftoralError]) -> list[type[errors.RaftoralError]]:
    return [root, *(each for child in root.__subclasses__() for each in _kinds(child))]


def test_whose_turn_it_is_follows_from_the_class_of_an_error() -> None:
    """The caller's mistakes are 4xx, what may be tried again is 503, the node's faults are 5xx."""
    for kind in _kinds(errors.RaftoralError):
        if kind.__module__ != errors.__name__ or kind.__init__ is not Exception.__init__:
            continue
        status = status_of(kind("x"))
        if issubclass(kind, errors.Unavailable):
            assert status == 503, kind
        elif issubclass(kind, (errors.UsageError, errors.QueryFailed)):
            assert 400 <= status < 500, kind
        else:
            assert status >= 500, kind
    assert status_of(errors.UpdateRefused("Negative", "no")) == 422
    names = [kind.__name__ for kind in _kinds(errors.UsageError) if kind.code.startswith("unknown")]
    assert len(names) >= 5
    for name in names:
        assert status_of(getattr(errors, name)("x")) == 404


def test_each_endpoint_has_a_name_of_its_own_in_its_group() -> None:
    """No two endpoints share method and path, so that none hides another."""
    assert len({(each.method, each.path) for each in ENDPOINTS}) == len(ENDPOINTS)


def test_a_broken_answer_is_asked_for_again() -> None:
    """A connection that breaks before the answer is tried again within the client's patience."""
    tries = 0

    def handler(_request: httpx.Request) -> httpx.Response:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise httpx.ReadError("gone")
        return httpx.Response(200, json={"ok": True})

    with Client(transport=httpx.MockTransport(handler)) as client:
        client.cancel("r")
    assert tries == 2


def test_a_server_that_stops_ends_its_streams() -> None:
    """Who follows a run that goes on is told to ask elsewhere, and the server does not wait for it."""
    node = FakeNode()

    async def main() -> list[str]:
        lines: list[str] = []
        paused = asyncio.Event()

        async def read(url: str, http: httpx.AsyncClient) -> None:
            async with http.stream("GET", f"{url}/v1/runs/s/watch") as answer:
                async for line in answer.aiter_lines():
                    lines.append(line)
                    if "paused" in line:
                        paused.set()

        async with httpx.AsyncClient(trust_env=False) as http:
            async with serve(node, port=0) as url:
                await node.start_run("slow", {}, id="s")
                reading = asyncio.create_task(read(url, http))
                await paused.wait()
            await reading
        return lines

    assert asyncio.run(main())[-3:-1] == [
        "event: error",
        'data: {"code":"node_stopped","message":"this node stops; ask another one for the rest"}',
    ]


def test_a_stream_begins_though_nothing_has_happened_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    """A caller that has seen all there is gets an answer that lives, not silence."""
    monkeypatch.setattr("raftoral.api.streams.SOON_SECONDS", 0.01)
    monkeypatch.setattr("raftoral.api.streams.ALIVE_SECONDS", 0.02)
    node = FakeNode()

    async def follow(_id: str, **_place: int) -> Any:
        await asyncio.sleep(60)
        yield None

    node.follow = follow  # type: ignore[method-assign]
    answer = asker(node)("GET", "/v1/runs/s/events?wait_ms=200")
    assert (answer.status_code, answer.text.count(": waiting\n\n") > 2) == (200, True)
    assert answer.text.endswith("event: end\ndata: {}\n\n")
