"""Kubernetes objects as an API server treats them: server-side apply, typed values, built-in kinds."""
