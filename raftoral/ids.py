"""The names of numbers and texts that must not be mixed up.

Owns nothing but types. An *index* is a place in a Raft log, a *position* a place in one run's
history, a *term* a reign; mixing them is a type error, not a bug found at night.
"""

from __future__ import annotations

from typing import Final, NewType

NodeId = NewType("NodeId", int)
"""One process of the cluster; given out by group 0, never reused. 0 is nobody."""

GroupId = NewType("GroupId", int)
"""One Raft log: 0 manages, 1..n execute."""

Term = NewType("Term", int)
Index = NewType("Index", int)
"""Place of an entry in a group's log; the first entry has index 1."""

RunId = NewType("RunId", str)
Position = NewType("Position", int)
"""Place of an event in one run's history, from 0."""

Version = NewType("Version", int)
Epoch = NewType("Epoch", int)
"""Fencing number of an owner: the log index of the entry that made it the owner."""

Millis = NewType("Millis", int)
"""Milliseconds since 1970 UTC on a group's own clock, or a span of milliseconds."""

NOBODY: Final = NodeId(0)
MANAGEMENT: Final = GroupId(0)
SLOTS: Final = 1024
"""How many slots the run ids are hashed into; each slot belongs to one execution group."""
