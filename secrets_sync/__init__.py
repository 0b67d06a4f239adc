"""Provider secret to Kubernetes Secret."""
