"""Registry tag to Git commit."""
