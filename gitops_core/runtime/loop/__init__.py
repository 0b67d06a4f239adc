"""From a changed object to its reconciliation, and from the result to its status and its events."""
