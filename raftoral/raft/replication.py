"""How a leader gets its entries to everyone and learns what is committed.

Owns the leader's side of appends, heartbeats, snapshots, reads and transfer; the state is the
core's and its followers' `Progress`. The rule it keeps: only entries of the own term commit by
counting, all before them commit with them.

Source: Raft paper, sections 5.3, 5.4.2 and 7; thesis sections 3.10, 6.4 and 10.2.1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from raftoral.ids import NOBODY, Index, NodeId
from raftoral.raft.log import SnapshotNotReadyError
from raftoral.raft.messages import NO_INDEX, MessageType
from raftoral.raft.progress import Progress, ProgressState
from raftoral.raft.quorum import joint_commit_index
from raftoral.raft.reads import ReadRequest, ReadState

if TYPE_CHECKING:
    from collections.abc import Sequence

    from raftoral.raft.core import Core
    from raftoral.raft.messages import Entry, Message


# ------------------------------------------------------------------ sending
def broadcast_append(core: Core) -> None:
    """Bring every follower up to date: at once, or all together with the next `Ready`."""
    if core.config.batch:
        core.appends_due = True
        return
    for node, progress in core.progress.items():
        if node != core.id:
            send_append(core, node, progress)


def broadcast_commit(core: Core) -> None:
    """Tell every follower how far the log is committed: at once, or when the batch is asked to."""
    if core.config.batch:
        core.news_due = True
    else:
        broadcast_append(core)


def send_commit(core: Core, node: NodeId) -> None:
    """Tell one follower how far the log is committed, if it may not know."""
    progress = core.progress.get(node)
    if progress is not None and node != core.id and progress.can_bump_commit(core.log.committed):
        send_append(core, node, progress)


def send_news(core: Core) -> None:
    """Send entries to every follower that lacks some; nothing to the others."""
    if core.config.batch:
        core.appends_due = True
        return
    for node, progress in core.progress.items():
        if node != core.id:
            send_append(core, node, progress, even_if_empty=False)


def flush(core: Core) -> None:
    """Send what a batch has collected: one append a follower, more only where it is too large."""
    if core.reads.needs_round:
        broadcast_heartbeat(core)
    if not core.appends_due:
        return
    core.appends_due = core.news_due = False
    last, commit = core.log.last, core.log.committed
    if last > core.log.handed:
        core.send(MessageType.APPEND_RESPONSE, core.id, index=last)
    for node, progress in core.progress.items():
        if node == core.id:
            continue
        if progress.next <= last or progress.can_bump_commit(commit):
            send_append(core, node, progress)
            if progress.next <= last:
                fill_window(core, node, progress)


def fill_window(core: Core, node: NodeId, progress: Progress) -> None:
    """Send as many appends with entries as the follower's window takes."""
    while progress.next <= core.log.last and send_append(core, node, progress, even_if_empty=False):
        pass


def send_append(
    core: Core, node: NodeId, progress: Progress, *, even_if_empty: bool = True
) -> bool:
    """Send one append, or a snapshot where the log does not reach back; False if held back."""
    if progress.is_paused:
        return False
    log = core.log
    before = Index(progress.next - 1)
    entries: Sequence[Entry] = ()
    try:
        before_term = log.term(before)
        if before < log.last and progress.may_carry:
            end = Index(log.last + 1)
            entries = log.slice(progress.next, end, core.config.message_bytes_max)
    except LookupError:
        return send_snapshot(core, node, progress)
    if not entries and not even_if_empty:
        return False
    core.send(
        MessageType.APPEND,
        node,
        index=before,
        log_term=before_term,
        entries=tuple(entries),
        commit=log.committed,
    )
    progress.sent(entries, log.committed)
    return True


def send_snapshot(core: Core, node: NodeId, progress: Progress) -> bool:
    """Offer the newest snapshot to a follower that lives; False if that is not possible now."""
    if not progress.active:
        return False
    try:
        snapshot = core.log.snapshot()
    except SnapshotNotReadyError:
        return False
    progress.become_snapshot(snapshot.meta.index)
    core.config.say(f"{core.id} sent snapshot {snapshot.meta.index} to {node}")
    core.send(MessageType.SNAPSHOT, node, snapshot=snapshot)
    return True


def broadcast_heartbeat(core: Core) -> None:
    """Tell everyone that this leader lives, with the running round of reads."""
    reads = core.reads
    context = reads.begin_round(core.id) if reads.needs_round else reads.context()
    for node, progress in core.progress.items():
        if node != core.id:
            # Never a commit beyond the match: what lies behind it may be another leader's.
            commit = Index(min(progress.match, core.log.committed))
            core.send(MessageType.HEARTBEAT, node, commit=commit, context=context)
            progress.commit_sent = commit


# ------------------------------------------------------------------ answers
def step_leader(core: Core, message: Message) -> None:
    """Take a message as leader, of the own term (or a request without one)."""
    if message.type is MessageType.READ_INDEX:
        serve_read(core, ReadRequest(message.from_, message.context))
        return
    progress = core.progress.get(message.from_)
    if progress is None:
        return
    match message.type:
        case MessageType.APPEND_RESPONSE:
            progress.active = True
            if message.reject:
                on_append_rejected(core, progress, message)
            else:
                on_append_accepted(core, progress, message)
        case MessageType.HEARTBEAT_RESPONSE:
            on_heartbeat_response(core, progress, message)
        case MessageType.TRANSFER_LEADER:
            transfer(core, NodeId(message.index or message.from_))
        case _:
            pass  # A late vote, or something that only a follower can use.


def on_append_rejected(core: Core, progress: Progress, message: Message) -> None:
    """Probe further back, past all places whose term here is higher than the hint's."""
    hint = message.reject_hint
    if message.log_term > 0:
        hint, _ = core.log.find_conflict_by_term(hint, message.log_term)
    if progress.step_back(message.index, hint):
        if progress.state is ProgressState.REPLICATE:
            progress.become_probe()
        send_append(core, message.from_, progress)


def on_append_accepted(core: Core, progress: Progress, message: Message) -> None:
    """Note how far a follower (or the own disk) is, commit what that allows, send more."""
    is_own, index, state = message.from_ == core.id, message.index, progress.state
    # A probe that finds nothing missing still ends the probing.
    if not progress.acknowledge(index) and (
        progress.match != index or state is not ProgressState.PROBE
    ):
        return
    if state is ProgressState.REPLICATE:
        progress.inflights.free_to(index)
    elif state is ProgressState.PROBE:
        progress.become_replicate()
    elif progress.match + 1 >= core.log.first_index():
        # Whichever snapshot it installed, from here on the log is enough.
        progress.become_probe()
        progress.become_replicate()
    # Up to the commit index there is nothing to find out.
    if (index > core.log.committed or core.trace is not None) and maybe_commit(core):
        if core.reads.early:
            release_early_reads(core)
        broadcast_commit(core)
    elif not is_own and progress.can_bump_commit(core.log.committed):
        if core.config.batch:
            core.news_due = True
        else:
            send_append(core, message.from_, progress)
    if is_own:
        return
    if core.config.batch:
        core.appends_due = core.appends_due or progress.next <= core.log.last
    else:
        fill_window(core, message.from_, progress)
    if message.from_ == core.transferee and progress.match == core.log.last:
        core.send(MessageType.TIMEOUT_NOW, message.from_)


def maybe_commit(core: Core) -> bool:
    """Commit what a quorum holds; True if that is more than before."""
    match = {node: progress.match for node, progress in core.progress.items()}
    index = joint_commit_index(match, core.membership.voters, core.membership.outgoing)
    # Only entries of the own term commit by counting (Raft paper 5.4.2).
    more = index > core.log.committed and core.log.matches(index, core.term)
    if more:
        core.log.commit_to(index)
    if core.trace is not None:
        core.trace.node("Commit", core)
    return more


def on_heartbeat_response(core: Core, progress: Progress, message: Message) -> None:
    """Note that a follower lives, send what it lacks, and serve the reads it confirms."""
    progress.active = True
    progress.paused = False
    progress.commit_known = Index(max(progress.commit_known, message.commit))
    # A full window gets an empty append, so that lost messages show; a probe gets its next one.
    if progress.match < core.log.last or progress.state is ProgressState.PROBE:
        send_append(core, message.from_, progress)
    if message.context:
        core.reads.acknowledge(message.from_, message.context)
        release_reads(core)
    if core.leaving:
        leave(core)


def leave(core: Core) -> None:
    """Step down as a leader that was removed, once a majority of the others knows of it.

    Before that, they might still need this node's vote and not get it: their logs may be shorter.
    """
    known = {node: progress.commit_known for node, progress in core.progress.items()}
    membership = core.membership
    if joint_commit_index(known, membership.voters, membership.outgoing) < core.leaving:
        return
    last = core.log.last
    for node in sorted(membership.all_voters):
        if core.progress[node].match == last and known[node] >= core.leaving:
            core.send(MessageType.TIMEOUT_NOW, node)
            break
    core.become_follower(core.term, NOBODY)


def report_unreachable(core: Core, node: NodeId) -> None:
    """Stop sending ahead to a follower whose messages were lost."""
    progress = core.progress.get(node)
    if progress is not None and progress.state is ProgressState.REPLICATE:
        progress.become_probe()


def report_snapshot(core: Core, node: NodeId, *, ok: bool) -> None:
    """Go on with a follower after its snapshot: behind it, or from its match if that failed."""
    progress = core.progress.get(node)
    if progress is None or progress.state is not ProgressState.SNAPSHOT:
        return
    if not ok:
        progress.pending_snapshot = NO_INDEX
    progress.become_probe()
    # Wait for its answer, or for a heartbeat, before the next append.
    progress.paused = True


# ------------------------------------------------------------------ reads
def serve_read(core: Core, request: ReadRequest) -> None:
    """Answer a read as soon as it is sure that no newer leader has committed anything."""
    if not core.log.matches(core.log.committed, core.term):
        # Before the first commit of the own term the commit index may be behind (paper 8).
        core.reads.early.append(request)
    elif core.membership.is_singleton(core.id):
        _answer_read(core, core.log.committed, request)
    else:
        core.reads.add(request, core.log.committed)
        if not core.config.batch:
            broadcast_heartbeat(core)


def release_early_reads(core: Core) -> None:
    """Let the reads that came before the first commit of the reign go their way."""
    if not core.log.matches(core.log.committed, core.term):
        return
    early, core.reads.early = core.reads.early, []
    for request in early:
        serve_read(core, request)


def release_reads(core: Core) -> None:
    """Answer the reads whose round a quorum has confirmed."""
    membership = core.membership
    confirmed = joint_commit_index(core.reads.acknowledged, membership.voters, membership.outgoing)
    for index, request in core.reads.release(confirmed):
        _answer_read(core, index, request)


def _answer_read(core: Core, index: Index, request: ReadRequest) -> None:
    if request.requester == core.id:
        core.read_states.append(ReadState(index, request.context))
    else:
        core.send(
            MessageType.READ_INDEX_RESPONSE,
            request.requester,
            index=index,
            context=request.context,
        )


# ------------------------------------------------------------------ transfer
def transfer(core: Core, to: NodeId) -> None:
    """Hand leadership to ``to`` once its log is complete; a learner or a stranger is ignored.

    To itself a leader hands nothing, but a transfer that is under way is given up.
    """
    progress = core.progress.get(to)
    if progress is None or progress.is_learner or to == core.transferee:
        return
    abort_transfer(core)  # A new wish takes the place of the one before.
    if to == core.id:
        return
    # It has one election timeout, then proposals are accepted again.
    core.election_elapsed = 0
    core.transferee = to
    if progress.match == core.log.last:
        core.send(MessageType.TIMEOUT_NOW, to)
    else:
        send_append(core, to, progress)


def abort_transfer(core: Core) -> None:
    """Accept proposals again. The transferee may still win if it was told to stand."""
    core.transferee = NOBODY
