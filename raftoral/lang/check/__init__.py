"""The checks of a program, and the IR it becomes: names bound, types found, effects where they may be."""
