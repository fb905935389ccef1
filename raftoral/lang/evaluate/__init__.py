"""IR to a generator of effects: the same that a Python workflow yields."""
