"""What registries say and are told of tags: pushes, webhooks, platforms, signatures."""
