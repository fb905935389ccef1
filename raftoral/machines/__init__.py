"""Replicated state machines: `apply` turns a committed command into state and events."""
