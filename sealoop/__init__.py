"""Composition root: the only place that knows all three packages, reads the environment and opens connections."""
