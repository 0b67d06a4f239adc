"""A Resource class and its CustomResourceDefinition, in both directions.

`crd(cls)` writes the CRD of a class; `prune`, `default` and `validate` do with an object what the API server does with
it under that CRD. `markers` are what API classes write beside their fields' types.
"""

from gitops_core.schema.admission import default, prune, remove_stray_nulls, validate, write_refusal
from gitops_core.schema.fitting import FieldFault
from gitops_core.schema.formats import is_identical
from gitops_core.schema.manifests import find_unsupported, from_manifest, to_manifest, unsupported, without_nulls
from gitops_core.schema.markers import INT64, NOT_SEEN, SERVER_DEFAULT, UNSUPPORTED, only, rules
from gitops_core.schema.structural import Schema, crd, crds, make_object_schema

__all__ = [
    "INT64",
    "NOT_SEEN",
    "SERVER_DEFAULT",
    "UNSUPPORTED",
    "FieldFault",
    "Schema",
    "crd",
    "crds",
    "default",
    "find_unsupported",
    "from_manifest",
    "is_identical",
    "make_object_schema",
    "only",
    "prune",
    "remove_stray_nulls",
    "rules",
    "to_manifest",
    "unsupported",
    "validate",
    "without_nulls",
    "write_refusal",
]
