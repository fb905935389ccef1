"""Test workflows in plain pytest: in process, on a virtual clock, with the engine's own rules."""

from raftoral.testing.world import Takes, World

__all__ = ["Takes", "World"]
