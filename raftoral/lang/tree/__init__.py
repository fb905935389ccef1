"""Reductions of the parser to nodes of `ast`: one method a rule, its children in the rule's order."""
