"""Finds what makes a Python workflow unrepeatable, by reading its code; nothing is run or imported."""
