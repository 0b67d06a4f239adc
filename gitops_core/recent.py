"""The values used most recently, as many as weigh no more than a bound: a cache for what can be made again."""

from __future__ import annotations

from collections import OrderedDict
from threading import RLock
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Recent(Generic[K, V]):
    """Threads may share it.

    Attributes:
    weight: of all that is kept, in bytes.
    """

    def __init__(self, capacity: int) -> None:
        """
        Args:
            capacity: how many bytes may be kept; whoever puts a value says what it weighs.
        """
        self.weight = 0
        self._capacity = capacity
        self._kept: OrderedDict[K, tuple[V, int]] = OrderedDict()
        self._turn = RLock()

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: K) -> V | None:
        """Return the value, which is now the most recently used one; None where it is not kept (any more)."""
        with self._turn:
            if (kept := self._kept.get(key)) is None:
                return None
            self._kept.move_to_end(key)
            return kept[0]

    def list_items(self) -> tuple[tuple[K, V], ...]:
        """List what is kept, the least recently used first."""
        with self._turn:
            return tuple((key, value) for key, (value, _) in self._kept.items())

    def put(self, key: K, value: V, weight: int) -> None:
        """Keep `value` in place of the key's former one; a value heavier than the capacity is not kept at all."""
        with self._turn:
            self.drop(key)
            if weight > self._capacity:
                return  # everything else would have to go, and then it itself
            self._kept[key] = value, weight
            self.weight += weight
            while self.weight > self._capacity:
                _, (_, freed) = self._kept.popitem(last=False)
                self.weight -= freed

    def drop(self, key: K) -> None:
        """Forget the key's value, if there is one."""
        with self._turn:
            _, freed = self._kept.pop(key, (None, 0))
            self.weight -= freed
