"""A whole cluster in one thread, decided by one seed: `python -m raftoral.sim`."""
