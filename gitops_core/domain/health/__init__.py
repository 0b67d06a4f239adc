"""Whether an object has become what its spec says."""
