"""Real processes, real sockets, real disks, real kill -9: the few things only they can show."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.bench.processes import Cluster

pytestmark = [pytest.mark.processes, pytest.mark.xdist_group("processes")]


def _start(cluster: Cluster, run_id: str, turns: int, member: int = 0) -> None:
    body = {"name": "bench.long", "input": {"turns": turns}, "id": run_id}
    cluster.post(cluster.members[member], "/v1/runs", body)


def _wait(cluster: Cluster, member: int, run_id: str, seconds: float = 60) -> Any:
    until = time.monotonic() + seconds
    while True:
        view = cluster.get(cluster.members[member], f"/v1/runs/{run_id}?wait_ms=5000")
        if view["status"] != "running" or time.monotonic() > until:
            return view


def _wait_events(cluster: Cluster, member: int, run_id: str, events: int) -> Any:
    until = time.monotonic() + 20
    while time.monotonic() < until:
        view = cluster.get(cluster.members[member], f"/v1/runs/{run_id}")
        if view["events"] >= events:
            return view
        time.sleep(0.02)
    raise AssertionError(f"the run does not go on: {view}")


def _digests(cluster: Cluster, run_id: str) -> set[str]:
    """Return the digests of the run's history on each node, once all have applied its end."""
    until = time.monotonic() + 10
    while True:
        histories = [
            cluster.get(member, f"/v1/runs/{run_id}/history?local=1") for member in cluster.members
        ]
        found = {history["sha256"] for history in histories}
        if len(found) == 1 or time.monotonic() > until:
            return found
        time.sleep(0.05)


def test_a_killed_owner_is_replaced_and_the_result_arrives_on_the_third_node(
    tmp_path: Path,
) -> None:
    """Kill -9 of the owner in mid-run loses no step, and every node ends with the same history."""
    with Cluster(tmp_path) as cluster:
        for number in range(6):
            _start(cluster, f"r-{number}", 20, number % 3)
        view = _wait_events(cluster, 0, "r-0", 10)
        victim = cluster.members[view["owner"] - 1]
        others = [n for n in range(3) if cluster.members[n] is not victim]
        victim.kill()
        ended = _wait(cluster, others[0], "r-0")
        assert (ended["status"], ended["result"]) == ("completed", 20)
        assert ended["owner"] != victim.number
        assert ended["epoch"] > view["epoch"]
        for number in range(6):
            assert _wait(cluster, others[1], f"r-{number}")["result"] == 20
        victim.start()
        victim.wait_ready(cluster.client)
        for number in range(6):
            assert len(_digests(cluster, f"r-{number}")) == 1


def test_killing_all_three_in_mid_run_and_starting_them_again_goes_on(tmp_path: Path) -> None:
    """After kill -9 of every process the runs go on from their disks."""
    with Cluster(tmp_path) as cluster:
        for number in range(4):
            _start(cluster, f"r-{number}", 30)
        before = [_wait_events(cluster, 0, f"r-{number}", 8) for number in range(4)]
        for member in cluster.members:
            member.kill()
        for member in cluster.members:
            member.start()
        for member in cluster.members:
            member.wait_ready(cluster.client)
        for number in range(4):
            ended = _wait(cluster, number % 3, f"r-{number}")
            assert (ended["status"], ended["result"]) == ("completed", 30), ended
            assert ended["events"] >= before[number]["events"]
            assert len(_digests(cluster, f"r-{number}")) == 1


def test_the_same_id_started_at_once_on_three_nodes_is_one_run(tmp_path: Path) -> None:
    """The same id, workflow and input started from everywhere is one run; another input is refused."""
    from concurrent.futures import ThreadPoolExecutor

    with Cluster(tmp_path) as cluster:
        body = {"name": "bench.ten", "input": {"seed": 7}, "wait_ms": 10_000}

        def start(number: int) -> Any:
            member = cluster.members[number % 3]
            return cluster.post(member, "/v1/runs", {**body, "id": f"one-{number // 3}"})

        with ThreadPoolExecutor(9) as pool:
            views = list(pool.map(start, range(60)))
        assert {view["result"] for view in views} == {52}
        listed = cluster.get(cluster.members[1], "/v1/runs?limit=1000")
        assert len(listed["runs"]) == 20
        answer = cluster.client.post(
            f"{cluster.members[2].url}/v1/runs",
            json={"name": "bench.ten", "input": {"seed": 8}, "id": "one-0"},
        )
        assert answer.status_code == 409
        assert "exists with another input" in answer.json()["error"]["message"]


def test_several_groups_serve_any_run_from_any_node(tmp_path: Path) -> None:
    """With three execution groups, each node starts, shows and lists runs of all of them."""
    with Cluster(tmp_path, arguments=("--groups", "3")) as cluster:
        for number in range(30):
            body = {"name": "bench.ten", "input": {"seed": number}, "id": f"g-{number}"}
            cluster.post(cluster.members[number % 3], "/v1/runs", body)
        groups = set()
        for number in range(30):
            view = _wait(cluster, (number + 1) % 3, f"g-{number}")
            assert view["result"] == 45 + number
            groups.add(view["group"])
        assert groups == {1, 2, 3}
        listed = cluster.get(cluster.members[0], "/v1/runs?limit=1000")["runs"]
        assert len(listed) == 30
        started = [run["started_at"] for run in listed]
        assert started == sorted(started, reverse=True)


def test_a_removed_node_leaves_though_the_leaders_are_killed_in_the_middle(tmp_path: Path) -> None:
    """Kill -9 of the leaders while a node leaves: it goes, a spare takes its places, runs go on."""
    with Cluster(tmp_path, size=4, arguments=("--groups", "2")) as cluster:
        for number in range(8):
            _start(cluster, f"r-{number}", 30, number % 4)
        before = _wait_events(cluster, 0, "r-0", 8)
        leaver = cluster.members[before["owner"] - 1]
        rest = [member for member in cluster.members if member is not leaver]
        answer = _cli("nodes", "remove", str(leaver.number), "--no-wait", "--node", rest[0].url)
        assert (answer.returncode, answer.stderr) == (0, ""), answer
        time.sleep(0.4)
        leaders = {group["leader"] for group in cluster.get(rest[0], "/v1/status")["groups"]}
        victim = next((m for m in rest if m.number in leaders), rest[0])
        victim.kill()
        victim.start()
        victim.wait_ready(cluster.client)
        asked = next(member for member in rest if member is not victim)
        answer = _cli("nodes", "remove", f"node-{leaver.number}", "--node", asked.url)
        assert answer.returncode == 0, answer
        assert answer.stdout.endswith("has left the cluster\n")
        assert leaver.process is not None
        assert leaver.process.wait(timeout=20) == 0
        assert "was removed from cluster" in leaver.log.read_text()
        for number in range(8):
            ended = _wait(cluster, cluster.members.index(asked), f"r-{number}")
            assert (ended["status"], ended["result"]) == ("completed", 30), ended
            assert ended["owner"] != leaver.number
        staying = sorted(member.number for member in rest)
        for group in cluster.get(asked, "/v1/status")["groups"]:
            assert (group["members"], group["learners"]) == (staying, []), group
        assert [node["id"] for node in cluster.get(asked, "/v1/nodes")["nodes"]] == staying
        leaver.start()
        assert leaver.process.wait(timeout=20) == 2
        assert "its data folder is of no more use" in leaver.log.read_text()


def test_a_dead_node_is_removed_and_told_so_when_it_is_back(tmp_path: Path) -> None:
    """What was removed while it was down stops at its first contact; its data stays for people."""
    with Cluster(tmp_path) as cluster:
        dead = cluster.members[2]
        dead.kill()
        answer = _cli("nodes", "remove", "3", "--node", cluster.members[1].url)
        assert answer.returncode == 0, answer
        refused = _cli("nodes", "remove", "9", "--node", cluster.members[1].url)
        assert (refused.returncode, refused.stdout) == (3, "")
        assert "no node is called '9'; there are: 1 (node-1), 2 (node-2)" in refused.stderr
        dead.start()
        assert dead.process is not None
        assert dead.process.wait(timeout=20) == 2
        assert "node 3 (node-3) was removed from cluster" in dead.log.read_text()
        again = _cli("nodes", "remove", "3", "--node", cluster.members[0].url)
        assert (again.returncode, again.stdout) == (0, "node 3 has left the cluster\n")


def test_a_node_that_the_rest_cannot_spare_is_not_removed(tmp_path: Path) -> None:
    """With one of three down, removing another is refused, with what to do first."""
    with Cluster(tmp_path) as cluster:
        cluster.members[2].kill()
        refused = _cli("nodes", "remove", "2", "--node", cluster.members[0].url)
        assert (refused.returncode, refused.stdout) == (2, "")
        assert "without node 2" in refused.stderr
        assert (
            "3 do not answer: too few to decide anything. Start them, or remove" in refused.stderr
        )
        left = _cli("nodes", "remove", "3", "--node", cluster.members[0].url)
        assert left.returncode == 0, left
        left = _cli("nodes", "leave", "--node", cluster.members[0].url)
        assert left.returncode == 0, left
        _start(cluster, "r", 1, 1)
        assert _wait(cluster, 1, "r")["result"] == 1


def test_children_in_other_groups_run_once_though_the_leaders_are_killed(tmp_path: Path) -> None:
    """Kill -9 of a leader after the other: each child is one run, and its end is told once."""
    app = Path(__file__).with_name("family.py")
    with Cluster(tmp_path, app=app, arguments=("--groups", "3")) as cluster:
        parents = [f"p-{number}" for number in range(12)]
        for number, run_id in enumerate(parents):
            body = {"name": "family.parent", "input": {"number": number}, "id": run_id}
            cluster.post(cluster.members[number % 3], "/v1/runs", body)
        for group in (1, 2):
            time.sleep(0.5)
            status = cluster.get(cluster.members[0], "/v1/status")
            leader = next(each["leader"] for each in status["groups"] if each["id"] == group)
            victim = cluster.members[leader - 1]
            victim.kill()
            time.sleep(0.2)
            victim.start()
            victim.wait_ready(cluster.client)
        for number, run_id in enumerate(parents):
            ended = _wait(cluster, number % 3, run_id)
            assert (ended["status"], ended["result"]) == ("completed", number + 10), ended
            history = cluster.get(cluster.members[0], f"/v1/runs/{run_id}/history")
            told = [e["fields"]["path"] for e in history["events"] if e["kind"] == "ChildDone"]
            paths = [f"turn-{turn}[{side}]/{'ab'[side]}" for turn in range(5) for side in range(2)]
            assert sorted(told) == sorted(paths)
        listed = cluster.get(cluster.members[1], "/v1/runs?limit=1000")["runs"]
        children = [run for run in listed if run["parent"]]
        assert len(listed) == len(parents) * 11
        assert {run["status"] for run in children} == {"completed"}
        assert {run["group"] for run in children} == {1, 2, 3}
        assert {run["generation"] for run in listed} == {0}


def _cli(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "raftoral", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_history_is_the_bytes_that_its_digest_says(tmp_path: Path) -> None:
    """The canonical bytes that the API gives hash to the digest that it gives."""
    import base64

    with Cluster(tmp_path) as cluster:
        body = {"name": "bench.ten", "input": {"seed": 1}, "id": "h", "wait_ms": 10_000}
        cluster.post(cluster.members[0], "/v1/runs", body)
        history = cluster.get(cluster.members[0], "/v1/runs/h/history")
        data = b"".join(base64.b64decode(event["bytes"]) for event in history["events"])
        assert hashlib.sha256(data).hexdigest() == history["sha256"]
