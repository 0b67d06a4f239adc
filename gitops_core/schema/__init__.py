"""A Resource class and its CustomResourceDefinition, in both directions.

`crd(cls)` writes the CRD of a class; `prune`, `default` and `validate` do with an object what the API server does with
it under that CRD. `markers` are what API classes write beside their fields' types.
"""

from gitops_core.schema.markers import INT64, NOT_SEEN, SERVER_DEFAULT, UNSUPPORTED, only, rules

__all__ = ["INT64", "NOT_SEEN", "SERVER_DEFAULT", "UNSUPPORTED", "only", "rules"]
