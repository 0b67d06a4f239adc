"""The shared kernel and the reconciler: Git to cluster."""
