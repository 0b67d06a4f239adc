"""What the runtime does for every kind, seen from outside: objects go in, statuses and events come out."""

from __future__ import annotations

import asyncio
from typing import Any

from gitops_core.errors import StalledError, TransientError
from gitops_core.meta import Condition
from gitops_core.runtime.reconciling import Notice, Outcome, Platform, Watch, names
from gitops_core.ports import Query
from tests.gitops_core.runtime.kinds import Gadget, Plain, Widget, WidgetStatus
from tests.gitops_core.runtime.world import World, condition, controller, outcome, ref
from tests.simulation.loop import virtually


class Diary:
    """A script that records every look and answers as told."""

    def __init__(self, answer: Any = outcome) -> None:
        self.looks: list[tuple[str, float]] = []
        self.finalized: list[str] = []
        self.answer = answer

    async def __call__(self, wanted: Any, platform: Platform) -> Outcome:
        self.looks.append((wanted.key.name, round(platform.clock.monotonic(), 2)))
        result = self.answer(wanted)
        if asyncio.iscoroutine(result):
            result = await result
        if isinstance(result, Exception):
            raise result
        return result  # type: ignore[no-any-return]

    async def finalize(self, wanted: Any, platform: Platform) -> None:
        self.finalized.append(wanted.key.name)

    def of(self, name: str) -> list[float]:
        return [moment for looked, moment in self.looks if looked == name]


def test_an_object_is_reconciled_and_its_status_written() -> None:
    async def main() -> None:
        world, diary = World(), Diary()
        await world.install()
        await world.put(Widget, "a", size=3)
        async with world.process(controller(diary)):
            await asyncio.sleep(1)

            live = await world.get(Widget, "a")

        assert live["status"]["size"] == 3
        assert live["status"]["observedGeneration"] == 1
        assert condition(live, "Ready") | {"lastTransitionTime": ""} == {
            "type": "Ready",
            "status": "True",
            "reason": "Succeeded",
            "message": "size 3",
            "lastTransitionTime": "",
            "observedGeneration": 1,
        }
        assert live["metadata"]["finalizers"] == [Widget.FINALIZER]
        assert diary.of("a") != []
        assert len(diary.of("a")) == 1, "our own writes must not wake us"

    virtually(main())
