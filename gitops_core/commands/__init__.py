"""What works without the service."""
