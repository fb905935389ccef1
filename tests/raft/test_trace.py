"""What a traced core writes: the form of etcd's trace, and steps that etcd's model has.

`tests.raft.trace_spec` is that model. It passes etcd's own sample and what we write, and refuses
either once it is damaged.
"""

from __future__ import annotations

import json
import os
from collections import defaultdict
from pathlib import Path
from random import Random
from typing import Any

import pytest

from raftoral.errors import ProposalDropped
from raftoral.ids import Index, NodeId
from raftoral.raft.messages import ConfChange, ConfOp, ConfState
from raftoral.raft.trace import Tracer
from raftoral.sim.cluster import Cluster, Options
from tests.raft.network import Network
from tests.raft.trace_spec import Refused, check

FOLDER = os.environ.get("RAFTORAL_CORPORA", "")
SAMPLE = Path(FOLDER, "etcd-raft-trace", "sample.ndjson")

STATE = {"term": int, "vote": str, "commit": int}
MESSAGE = {
    "type": str,
    "term": int,
    "from": str,
    "to": str,
    "entries": int,
    "logTerm": int,
    "index": int,
    "commit": int,
    "vote": str,
    "reject": bool,
    "rejectHint": int,
}
NODE_EVENTS = (
    "InitState",
    "BecomeCandidate",
    "BecomeFollower",
    "BecomeLeader",
    "Commit",
    "Replicate",
    "Ready",
    "ChangeConf",
    "ApplyConfChange",
)
MESSAGE_EVENTS = tuple(
    way + what
    for way in ("Send", "Receive")
    for what in (
        "AppendEntriesRequest",
        "AppendEntriesResponse",
        "RequestVoteRequest",
        "RequestVoteResponse",
    )
)
COMPARED = tuple(
    name for name in MESSAGE_EVENTS if "Response" not in name or name.startswith("Receive")
)
"""Etcd's checker takes an answer that is sent as a part of the step that it answers."""


def a_life(seed: int) -> list[dict[str, Any]]:
    """Return the trace of a group that loses messages and leaders, grows, shrinks and restarts."""
    lines: list[str] = []
    network = Network(3, seed, trace=Tracer(lines.append), pre_vote=False)
    random = Random(seed)
    network.elect(1)
    for number in range(40):
        network.lose = lambda _: random.random() < 0.1
        for leader in network.leaders():
            network[leader].propose(b"%d" % number)
        network.tick(times=random.randrange(4))
        if number % 10 == 9:
            network.isolate(*network.leaders())
            network.tick(times=25)
    network.heal()
    network.tick(times=40)
    leader = network.leaders()[0]
    network.log(leader).compact(Index(network[leader].applied - 1))
    network.add(4)
    network.change(leader, ConfChange(((ConfOp.ADD_LEARNER, NodeId(4)),)))
    network.change(leader, ConfChange(((ConfOp.ADD_VOTER, NodeId(4)),)))
    gone = NodeId(leader % 3 + 1)
    network.change(leader, ConfChange(((ConfOp.REMOVE, gone),)))
    back = NodeId(4)
    network.start(back, network.log(back), network[back].applied)
    network.tick(times=5)
    return [json.loads(line) for line in lines]


def shape(value: Any) -> Any:
    """Return the types of a value instead of what it holds; a list is that of its items."""
    if isinstance(value, dict):
        return {key: shape(item) for key, item in value.items()}
    if isinstance(value, list):
        return ["list", *sorted({repr(shape(item)) for item in value})]
    return type(value)


@pytest.fixture(scope="module")
def events() -> list[dict[str, Any]]:
    """Return the events of one life."""
    return [line["event"] for line in a_life(7)]


def test_every_line_has_the_form_and_every_event_comes() -> None:
    """All seventeen kinds come, each with the fields of its kind and their types."""
    kinds = set()
    for line in a_life(3):
        assert line["tag"] == "trace"
        event = line["event"]
        kinds.add(event["name"])
        assert shape(event["state"]) == STATE
        assert list(event)[:6] == ["name", "nid", "state", "role", "log", "conf"]
        assert len(event["conf"]) == 2
        assert all(type(node) is str for half in event["conf"] for node in half)
        assert ("msg" in event) == (event["name"] in MESSAGE_EVENTS)
        if "msg" in event:
            assert shape(event["msg"]) == MESSAGE
    assert kinds == {*NODE_EVENTS, *MESSAGE_EVENTS}


def test_a_snapshot_is_an_append_of_the_log_that_it_stands_for(
    events: list[dict[str, Any]],
) -> None:
    """Etcd's model has no log that begins later: a snapshot is all entries from the first on."""
    appends = [event["msg"] for event in events if event.get("msg", {}).get("type") == "MsgApp"]
    whole = [each for each in appends if each["index"] == 0]
    assert whole
    assert all(each["entries"] == each["commit"] > 1 for each in whole)
    assert all(each["logTerm"] == 0 for each in whole)


def test_terms_and_commits_never_go_back(events: list[dict[str, Any]]) -> None:
    """From each member's start on, term and commit only rise, and nobody votes twice in a term."""
    last: dict[str, dict[str, Any]] = {}
    for event in events:
        if event["name"] == "InitState":
            last.pop(event["nid"], None)
            continue
        state, before = event["state"], last.get(event["nid"])
        if before is not None and event["name"] != "ApplyConfChange":
            assert state["term"] >= before["term"], event
            assert state["commit"] >= before["commit"], event
            if state["term"] == before["term"]:
                assert before["vote"] in ("0", state["vote"]), event
        last[event["nid"]] = state
        assert state["commit"] <= event["log"], event


def test_a_leader_appends_one_entry_a_step(events: list[dict[str, Any]]) -> None:
    """Only `Replicate` and `ChangeConf` lengthen a leader's log, each by one."""
    pending: dict[str, int] = defaultdict(int)
    length: dict[str, int] = {}
    for event in events:
        node = event["nid"]
        if event["role"] == "StateLeader" and node in length:
            assert event["log"] == length[node] + pending[node], event
        pending[node] = int(event["name"] in ("Replicate", "ChangeConf"))
        length[node] = event["log"]
        if event["role"] != "StateLeader":
            pending[node] = 0
            length.pop(node)


def test_nothing_is_received_that_was_not_sent(events: list[dict[str, Any]]) -> None:
    """Each message that comes was sent before, word for word."""
    sent = set()
    for event in events:
        if event["name"] in MESSAGE_EVENTS:
            text = json.dumps(event["msg"])
            if event["name"].startswith("Send"):
                sent.add(text)
            else:
                assert text in sent, event


def test_one_leader_a_term(events: list[dict[str, Any]]) -> None:
    """No two members become leader in the same term."""
    leaders: dict[int, str] = {}
    for event in events:
        if event["name"] == "BecomeLeader":
            assert leaders.setdefault(event["state"]["term"], event["nid"]) == event["nid"]


def test_a_start_shows_nothing_and_then_what_was_stored() -> None:
    """A member begins without term or members, then has those of its storage."""
    lines: list[str] = []
    network = Network(3)
    network.elect(1)
    network.start(NodeId(2), network.log(2), network[2].applied, trace=Tracer(lines.append))
    init, change, follower = (json.loads(line)["event"] for line in lines)
    assert init["name"] == "InitState"
    assert init["state"] == {"term": 0, "vote": "0", "commit": 2}
    assert init["conf"] == [[], []]
    assert change["prop"] == {"cc": {"newconf": ["1", "2", "3"]}}
    assert follower["state"] == {"term": 1, "vote": "1", "commit": 2}
    assert follower["conf"] == [["1", "2", "3"], []]


def test_a_refused_change_is_not_written() -> None:
    """A change that does not enter the log is no step."""
    lines: list[str] = []
    network = Network(3, trace=Tracer(lines.append))
    leader = network.elect(1)
    network.isolate(2)
    leader.propose(b"a")
    leader.transfer_leadership(NodeId(2))
    with pytest.raises(ProposalDropped):
        leader.propose_conf_change(ConfChange(((ConfOp.REMOVE, NodeId(3)),)))
    assert not any("ChangeConf" in line for line in lines)


def test_a_tracer_changes_nothing() -> None:
    """A group that is traced does exactly what one does that is not."""

    def story(**options: Any) -> list[str]:
        network = Network(3, 5, **options)
        network.elect(1)
        network[1].propose(b"a")
        network.isolate(1)
        network.tick(times=30)
        network.heal()
        network.tick(times=3)
        return [repr(member.raw.status()) for member in network.members.values()]

    assert story(trace=Tracer(lambda _: None)) == story()


def test_a_newcomer_without_members_writes_an_empty_change() -> None:
    """Where there are no voters, the new membership is left out."""
    lines: list[str] = []
    Network(1, trace=Tracer(lines.append)).add(2, ConfState())
    changes = [e for e in map(json.loads, lines) if e["event"]["name"] == "ApplyConfChange"]
    assert changes[-1]["event"]["prop"] == {"cc": {}}


@pytest.mark.skipif(not SAMPLE.is_file(), reason="RAFTORAL_CORPORA holds no etcd-raft-trace")
def test_the_form_is_that_of_etcds_sample(events: list[dict[str, Any]]) -> None:
    """Every kind of event in etcd's trace is written here, with the same fields and types."""

    def forms(some: list[dict[str, Any]]) -> dict[tuple[str, str], set[str]]:
        found: dict[tuple[str, str], set[str]] = defaultdict(set)
        for event in some:
            # An empty list has no type of items.
            kept = {key: value for key, value in event.items() if key != "conf"}
            found[event["name"], event.get("msg", {}).get("type", "")].add(repr(shape(kept)))
        return found

    sample = [json.loads(line) for line in SAMPLE.read_text(encoding="utf-8").splitlines()]
    assert all(line["tag"] == "trace" for line in sample)
    ours = forms(events)
    for kind, theirs in forms([line["event"] for line in sample]).items():
        if kind[0] == "ApplyConfChange":
            # Of a membership without voters only a newcomer's start tells; see above.
            assert theirs & ours[kind], kind
        else:
            assert theirs == ours[kind], kind


# -------------------------------------------------------------- etcd's model
def run(seed: int) -> list[str]:
    """Return the trace of a short simulated run with its faults."""
    lines: list[str] = []
    report = Cluster(seed, Options(seconds=2.0, trace=lines.append)).run()
    assert report.violation is None, report.violation
    return lines


@pytest.fixture(scope="module")
def text(events: list[dict[str, Any]]) -> list[str]:
    """Return how a life begins, with a change of the leader, as lines."""
    return [json.dumps({"tag": "trace", "event": event}) for event in events[:500]]


def damaged(text: list[str], at: int, *path: str, to: Any = None) -> list[str]:
    """Return the lines with one field of one of them made another: a number grows by one."""
    line = json.loads(text[at])
    holder = line["event"]
    for key in path[:-1]:
        holder = holder[key]
    last = path[-1]
    holder[last] = holder[last] + 1 if to is None else to
    return [*text[:at], json.dumps(line), *text[at + 1 :]]


def after_the_beginning(text: list[str], *names: str) -> list[int]:
    """Return where events of some names are, once the nodes have begun; a few of them."""
    names = names or ("Ready", "Replicate", "Commit", "BecomeLeader", *COMPARED)
    found = []
    for at, line in enumerate(text):
        event = json.loads(line)["event"]
        # A heartbeat has no place in the log.
        if event["name"] in names and event.get("msg", {}).get("type") != "MsgHeartbeat":
            found.append(at)
    return found[:: max(1, len(found) // 12)]


@pytest.mark.skipif(not SAMPLE.is_file(), reason="RAFTORAL_CORPORA holds no etcd-raft-trace")
def test_the_model_has_every_step_of_etcds_sample() -> None:
    """The checker passes what etcd's own checker passes."""
    spec = check(SAMPLE.read_text(encoding="utf-8").splitlines())
    assert len(spec.nodes) == 5


@pytest.mark.parametrize("seed", range(3))
def test_the_model_has_every_step_of_a_life(seed: int) -> None:
    """Losses, elections, changes of members and a restart are steps that etcd's model has."""
    check(json.dumps(line) for line in a_life(seed))


@pytest.mark.parametrize("seed", range(1, 7))
def test_the_model_has_every_step_of_a_simulated_run(seed: int) -> None:
    """So are those of `make sim SEED=n TRACE=FILE`, with crashes and partitions."""
    lines = run(seed)
    assert len(lines) > 200
    check(lines)


@pytest.mark.parametrize(
    "path",
    [
        ("state", "term"),
        ("state", "commit"),
        ("state", "vote"),
        ("log",),
        ("role",),
        ("conf",),
    ],
    ids=".".join,
)
def test_a_state_that_no_step_leads_to_is_refused(text: list[str], path: tuple[str, ...]) -> None:
    """Each field of each state is compared with what the steps before it make of it."""
    check(text)
    other = {"vote": "9", "role": "StatePreCandidate", "conf": [["1", "2"], []]}.get(path[-1])
    for at in after_the_beginning(text):
        with pytest.raises(Refused):
            check(damaged(text, at, *path, to=other))


@pytest.mark.parametrize("field", ["term", "index", "entries", "logTerm", "commit"])
def test_a_message_that_nobody_can_send_is_refused(text: list[str], field: str) -> None:
    """An append says what is in the log of its sender, and comes as it was sent."""
    way = "SendAppendEntriesRequest", "ReceiveAppendEntriesRequest"
    for at in after_the_beginning(text, *way):
        with pytest.raises(Refused):
            check(damaged(text, at, "msg", field))


@pytest.mark.parametrize("name", ["Replicate", "BecomeCandidate", "BecomeLeader"])
def test_a_step_that_is_left_out_is_missed(text: list[str], name: str) -> None:
    """What follows is not possible without it."""
    for at in after_the_beginning(text, name):
        with pytest.raises(Refused):
            check([*text[:at], *text[at + 1 :]])


def test_a_message_comes_after_it_was_sent_and_once(text: list[str]) -> None:
    """One that was never sent is refused, and so is one that comes again."""
    comes = "ReceiveAppendEntriesRequest", "ReceiveRequestVoteRequest"
    for at in after_the_beginning(text, *comes):
        message = json.loads(text[at])["event"]["msg"]
        sends = [
            place
            for place in range(at)
            if json.loads(text[place])["event"].get("msg") == message
            and json.loads(text[place])["event"]["name"].startswith("Send")
        ]
        with pytest.raises(Refused):
            check([line for place, line in enumerate(text) if place not in sends])
        if len(sends) == 1:
            with pytest.raises(Refused):
                check([*text[: at + 1], text[at], *text[at + 1 :]])


def test_a_second_leader_of_a_term_is_refused(text: list[str]) -> None:
    """Who has not the votes does not lead, whatever its line says."""
    at = after_the_beginning(text, "BecomeLeader")[0]
    forged = json.loads(text[at])
    forged["event"]["nid"] = next(n for n in "123" if n != forged["event"]["nid"])
    with pytest.raises(Refused):
        check([*text[: at + 1], json.dumps(forged), *text[at + 1 :]])


def test_a_commit_that_no_majority_holds_is_refused(text: list[str]) -> None:
    """A leader that counts what only it has is refused at the line that says so."""
    at = after_the_beginning(text, "Replicate")[0]
    line = json.loads(text[at])
    line["event"]["name"] = "Commit"
    line["event"]["log"] += 1
    line["event"]["state"]["commit"] = line["event"]["log"]
    with pytest.raises(Refused):
        check([*text[: at + 1], json.dumps(line), *text[at + 1 :]])
