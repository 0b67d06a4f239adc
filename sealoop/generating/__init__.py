"""`sealoop crds`, `rbac` and `fields`: files that are written from the code."""
