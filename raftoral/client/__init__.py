"""Talks to a node over HTTP from another process; the only httpx."""
