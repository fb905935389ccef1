"""The time-travel debugger: steps through a recorded history, in a terminal or by a script."""
