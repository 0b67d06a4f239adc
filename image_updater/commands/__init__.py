"""Commands that need neither a cluster nor a registry, each in a module of its own, imported when it is called."""
