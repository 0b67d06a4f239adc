"""A Resource class and its CustomResourceDefinition, in both directions.

`make_crd(cls)` makes the CRD of a class; `prune`, `default` and `validate` do with an object what the API server does
with it under that CRD. `markers` are what API classes write beside their fields' types.
"""

from gitops_core.schema.admission import default, prune, remove_stray_nulls, validate, write_refusal
from gitops_core.schema.fitting import FieldFault
from gitops_core.schema.formats import is_identical
from gitops_core.schema.manifests import drop_nulls, find_unsupported, list_unsupported, make_manifest, read_manifest
from gitops_core.schema.markers import INT64, NOT_SEEN, SERVER_DEFAULT, UNSUPPORTED, only, rules
from gitops_core.schema.structural import Schema, make_crd, make_object_schema, write_crds

__all__ = [
    "INT64",
    "NOT_SEEN",
    "SERVER_DEFAULT",
    "UNSUPPORTED",
    "FieldFault",
    "Schema",
    "default",
    "drop_nulls",
    "find_unsupported",
    "is_identical",
    "list_unsupported",
    "make_crd",
    "make_manifest",
    "make_object_schema",
    "only",
    "prune",
    "read_manifest",
    "remove_stray_nulls",
    "rules",
    "validate",
    "write_crds",
    "write_refusal",
]
