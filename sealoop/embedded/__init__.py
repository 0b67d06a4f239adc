"""Small servers that the demo runs beside the process: a Git remote, a registry, a secret store."""
