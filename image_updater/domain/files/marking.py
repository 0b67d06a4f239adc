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
from image_updater.domain.files.targets import DeclaredTarget, find_places, format_of

_REST = re.compile(r"[ \t]*(?=\r?\n|\Z)")


def add_markers(path: str, content: bytes, targets: Sequence[DeclaredTarget]) -> bytes:
    """The file with a marker behind every value of `targets`.

    Raises:
        Unparsable: it cannot be: another format, a value that is not there, or not alone on its line.
    """
    form = format_of(path)
    if form is None or not is_considered(path):
        raise Unparsable("only YAML files carry markers")
    mark, text = decode(content)
    wanted: dict[int, tuple[int, str]] = {}
    for target in targets:
        policy = f"{target.namespace}:{target.target.policy}"
        values = {policy: "x:1", f"{policy}:tag": "1", f"{policy}:name": "x", f"{policy}:digest": ""}
        try:
            found = find_places(target, form.leaves(text), values, 0)
        except NoPlace as error:
            raise Unparsable(str(error)) from None
        for place in found:
            if place.obstacle or place.desired != values[place.setter]:
                raise Unparsable(f"line {place.leaf.line}: this value is no whole part of an image")
            wanted[place.leaf.end] = place.leaf.line, place.setter
    return mark + _inserted(text, wanted).encode()


def _inserted(text: str, wanted: dict[int, tuple[int, str]]) -> str:
    splices = []
    for end, (line, setter) in sorted(wanted.items()):
        rest = _REST.match(text, end)
        if rest is None:
            raise Unparsable(f"line {line}: something stands behind the value")
        splices.append(Splice(end, rest.end(), f" # {json.dumps({'$imagepolicy': setter})}"))
    result = splice(text, splices)
    before, after = find_markers(text).marked, find_markers(result).marked
    known = sorted(marked.setter for marked in before)
    if sorted(marked.setter for marked in after) != sorted([*known, *(setter for _, setter in wanted.values())]):
        raise Unparsable("the markers would not be read where they were put")
    return result
