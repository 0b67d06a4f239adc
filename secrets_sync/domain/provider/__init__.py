"""What a provider is asked for, and what its answer says."""
