"""A package whose workflow lies over several files."""

from .clocks import stamp as restamped
