"""The wire between nodes: frames, connections, calls. Knows no Raft and no group."""
