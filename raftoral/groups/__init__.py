"""Many Raft groups in one process: the loop that drives them, proposals, snapshots, clocks."""
