"""The embedded orchestrator: a node, the runs it starts, the activities it executes."""
