"""Disk: logs, hard states and machine ranges of all groups of a node, in one database."""
