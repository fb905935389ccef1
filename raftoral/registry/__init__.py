"""Versioned definitions: what is deployed, and what this application can run."""
