"""Markers put behind values that a target leads to, so that the target is not needed any more.

    newTag: 1.0.0      ->  newTag: 1.0.0 # {"$imagepolicy": "shop:web:tag"}

Only where nothing else stands on the line. The file is read again: exactly the new markers are there, or it is left.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from image_updater.domain.files.edits import Splice, splice
from image_updater.domain.files.leaves import NoPlace
from image_updater.domain.files.markers import Unparsable, is_considered
from image_updater.domain.files.readings import decode, find_markers
from image_updater.domain.files.targets import DeclaredTarget, find_format, find_targeted

_REST = re.compile(r"[ \t]*(?=\r?\n|\Z)")


def add_markers(path: str, content: bytes, targets: Sequence[DeclaredTarget]) -> bytes:
    """Put a marker behind every value of `targets`.

    Raises:
        Unparsable: it cannot be: another format, a value that is not there, or not alone on its line.
    """
    form = find_format(path)
    if form is None or not is_considered(path):
        raise Unparsable("only YAML files carry markers")
    mark, text = decode(content)
    wanted: dict[int, tuple[int, str]] = {}
    for target in targets:
        policy = f"{target.namespace}:{target.target.policy}"
        values = {policy: "x:1", f"{policy}:tag": "1", f"{policy}:name": "x", f"{policy}:digest": ""}
        try:
            found = find_targeted(target, form.leaves(text), values, 0)
        except NoPlace as error:
            raise Unparsable(str(error)) from None
        for place in found:
            if (place.demand and place.demand.obstacle) or place.find_desired(values) != values[place.setter]:
                raise Unparsable(f"line {place.line}: this value is no whole part of an image")
            wanted[place.end] = place.line, place.setter
    return mark + _insert(text, wanted).encode()


def _insert(text: str, wanted: dict[int, tuple[int, str]]) -> str:
    """Insert the markers, by where their values end, with line and setter. Raises Unparsable."""
    splices = []
    for end, (line, setter) in sorted(wanted.items()):
        rest = _REST.match(text, end)
        if rest is None:
            raise Unparsable(f"line {line}: something stands behind the value")
        splices.append(Splice(end, rest.end(), f" # {json.dumps({'$imagepolicy': setter})}"))
    result = splice(text, splices)
    before, after = find_markers(text).places, find_markers(result).places
    known = sorted(place.setter for place in before)
    if sorted(place.setter for place in after) != sorted([*known, *(setter for _, setter in wanted.values())]):
        raise Unparsable("the markers would not be read where they were put")
    return result
