"""The Raft protocol without input or output: messages and ticks in, `Ready` out."""
