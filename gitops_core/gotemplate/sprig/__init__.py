"""sprig's hermetic functions: those whose result depends on their arguments alone.

    Template("{{ .name | trunc 3 | upper }}", HERMETIC)

`keys`, `values` are in the order of the keys. What sprig counts among them though it makes random values (shuffle,
keys, certificates, salted hashes) is known by name and refuses to run.

Source: Masterminds/sprig v3.3, functions.go, HermeticTxtFuncMap.
"""

from collections.abc import Mapping

from gitops_core.gotemplate.functions import Function
from gitops_core.gotemplate.sprig.collections import COLLECTIONS
from gitops_core.gotemplate.sprig.digests import DIGESTS
from gitops_core.gotemplate.sprig.json import JSON
from gitops_core.gotemplate.sprig.numbers import NUMBERS
from gitops_core.gotemplate.sprig.paths import PATHS
from gitops_core.gotemplate.sprig.regexes import REGEXES
from gitops_core.gotemplate.sprig.strings import STRINGS
from gitops_core.gotemplate.sprig.times import TIMES
from gitops_core.gotemplate.sprig.versions import VERSIONS

HERMETIC: Mapping[str, Function] = {
    **STRINGS,
    **NUMBERS,
    **COLLECTIONS,
    **JSON,
    **PATHS,
    **DIGESTS,
    **TIMES,
    **REGEXES,
    **VERSIONS,
}

__all__ = ["HERMETIC"]
