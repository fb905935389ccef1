"""Durable workflows inside your own processes."""
