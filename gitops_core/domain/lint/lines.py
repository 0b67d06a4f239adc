"""In which line of a YAML text something stands."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property

import yaml

from gitops_core.domain.render.manifests import Malformed, compose_documents


class Lines:
    """Finds lines; the text is read once more, and only when somebody asks."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    @cached_property
    def _nodes(self) -> list[yaml.Node]:
        try:
            return list(compose_documents(self._data))
        except Malformed:
            return []

    def find(self, document: int, place: Iterable[str | int] = ()) -> int:
        """Find the line of a value, or of the last of the keys that lead to it; 0 where there is no such document.

        >>> Lines(b"a: 1\\n---\\nb:\\n  - c\\n  - d: 1\\n").find(1, ("b", 1, "d"))
        5
        """
        if document >= len(self._nodes):
            return 0
        node = self._nodes[document]
        line = node.start_mark.line
        for part in place:
            found = _step(node, part)
            if found is None:
                break
            node, line = found
        return int(line) + 1

    def find_within(self, document: int, place: Iterable[str | int], line: int) -> int:
        """Find the line of a text's line: a text behind `|` begins below its key."""
        first = self.find(document, place)
        return first + line if first else 0


def _step(node: yaml.Node, part: str | int) -> tuple[yaml.Node, int] | None:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value == part:
                return value, key.start_mark.line
    elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        return node.value[part], node.value[part].start_mark.line
    return None
