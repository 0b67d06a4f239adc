"""Where work runs whose cost a user's input decides: beside the event loop, fairly, and never for long.

    small   (weight <= SMALL)   at once, in the loop: a thread costs more than it saves
    else    one thread a namespace, PLACES for all; who waits takes turns by namespace
    spent   a reconciliation that used up its CPU seconds is ended with TooCostly, wherever its work stands

The work is a pure function, so that it may be ended between any two of its steps: nobody else sees what it left. What
Git has is read by it too, which is why Git's readers bear to be ended in the middle of an answer.

CPU seconds of a thread are counted, not the time that passes: a busy machine ends nobody's work. They are the last
line: what is ours to bound (gjson, templates, YAML) counts its own steps, and so fails in the same place every time.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar, copy_context
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar, TypeVarTuple, Unpack

import msgspec

from gitops_core.errors import TransientError
from gitops_core.meta import Manifest, ObjectRef
from gitops_core.runtime.metrics import Metrics

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

SMALL = 20_000
"""Weight up to which work is done in the loop: some milliseconds of Python, however it is used."""
READING = SMALL + 1
"""Weight of what reads Git's objects: little work, which may hang."""
BYTES_OF_WEIGHT = 4
"""Bytes of an object's JSON that count one where its every value is looked at: one is hardly written in fewer."""
AT_A_STRETCH = 40_000
"""Weight of small work after which the loop sees to everything else first."""
ALLOWANCE = 60.0
"""CPU seconds that one reconciliation may use."""
PLACES = 8
"""How many namespaces compute at the same time. More threads make the loop wait longer for its turn."""
WAITING = 1000
"""How many pieces of one namespace may wait: more than there are workers."""
LOOK = 0.05
"""Seconds between two looks at what the running work has used."""
PATIENCE = 600.0
"""Seconds until work that was ended is tried again: its input may be another by then."""


def estimate_weight(manifests: Iterable[Manifest]) -> int:
    """Estimate how much work objects are, whatever their number; counted no further than it makes a difference."""
    size = 0
    for manifest in manifests:
        size += len(msgspec.json.encode(manifest))
        if size > SMALL * BYTES_OF_WEIGHT:
            break
    return size // BYTES_OF_WEIGHT


class TooCostly(TransientError):
    """What an object asks for takes more computing than one object may have."""

    reason = "TooCostly"


class Busy(TransientError):
    """Too much of one namespace waits already."""

    reason = "ComputeBusy"


@dataclass
class Account:
    """Whose work this is, and the CPU seconds it has left. All work of one reconciliation is on one account."""

    about: ObjectRef | None = None
    left: float = ALLOWANCE

    @property
    def owner(self) -> str:
        return self.about.key.namespace if self.about is not None else ""

    def make_too_costly(self) -> TooCostly:
        about = self.about if self.about is not None else "this"
        return TooCostly(
            f"{about} needs more than {ALLOWANCE:g} s of computing: make what it reads smaller, or divide it among "
            "several objects",
            retry_after=PATIENCE,
        )


ACCOUNT: ContextVar[Account | None] = ContextVar("ACCOUNT", default=None)


@contextlib.contextmanager
def on_account_of(about: ObjectRef) -> Iterator[None]:
    """Count what this block computes, and tasks that begin in it, as one reconciliation of `about`."""
    token = ACCOUNT.set(Account(about))
    try:
        yield
    finally:
        ACCOUNT.reset(token)


def get_namespace_at_work() -> str:
    """Get the namespace on whose account this is; "" outside of a reconciliation."""
    return (ACCOUNT.get() or Account()).owner


def get_object_at_work() -> ObjectRef | None:
    """Get the object on whose account this is; None outside of a reconciliation."""
    return (ACCOUNT.get() or Account()).about


class Inline:
    """Implements gitops_core.ports.Compute in place: for commands, and where time is virtual."""

    async def run(self, weight: int, work: Callable[[Unpack[Ts]], T], *args: *Ts) -> T:
        return work(*args)


IN_PLACE = Inline()


class Beside:
    """Implements gitops_core.ports.Compute in the loop's own threads, on nobody's account: for who is trusted."""

    async def run(self, weight: int, work: Callable[[Unpack[Ts]], T], *args: *Ts) -> T:
        return work(*args) if weight <= SMALL else await asyncio.to_thread(work, *args)


BESIDE = Beside()


class _Ended(BaseException):
    """Raised inside work that is to end. No `except Exception` on its way keeps it."""


class _Worker(Protocol):
    def __call__(self) -> Any: ...


@dataclass
class _Job:
    """One piece of work.

    Attributes:
        thread: the thread that runs it, while it can be ended.
        before: CPU seconds that this thread had used when it began.
    """

    account: Account
    work: _Worker
    result: asyncio.Future[Any]
    thread: int = 0
    before: float = 0.0
    guard: threading.Lock = field(default_factory=threading.Lock)

    def run(self) -> Any:
        """Return or raise what the work does; raise _Ended when it was told to end."""
        try:
            with self.guard:
                self.before, self.thread = time.thread_time(), threading.get_ident()
            return self.work()
        finally:
            self._close()

    def _close(self) -> None:
        """Close the job: behind this nobody tells the thread to end any more."""
        while self.thread:
            try:
                with self.guard:
                    self.account.left -= time.thread_time() - self.before
                    self.thread = 0
            except _Ended:
                continue  # told in its last moment: the thread has other work to do next

    def end(self) -> None:
        """Tell the work to end; without effect when it has ended."""
        with self.guard:
            if self.thread:
                ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(self.thread), ctypes.py_object(_Ended))

    @property
    def is_over(self) -> bool:
        """Tell whether it used all that was left on its account."""
        with self.guard:
            return bool(self.thread) and _measure_cpu(self.thread) - self.before > self.account.left


def _measure_cpu(thread: int) -> float:
    """Measure the CPU seconds that a living thread has used; where the system does not say, the time that passed."""
    if hasattr(time, "pthread_getcpuclockid"):
        return time.clock_gettime(time.pthread_getcpuclockid(thread))
    return time.monotonic()


class Threads:
    """Implements gitops_core.ports.Compute with threads. Use from one event loop, and close it."""

    def __init__(self, metrics: Metrics, *, places: int = PLACES, look: float = LOOK) -> None:
        self._metrics, self._look, self._free = metrics, look, places
        self._executor = ThreadPoolExecutor(places, thread_name_prefix="compute")
        self._waiting: OrderedDict[str, deque[_Job]] = OrderedDict()
        self._running: dict[str, _Job] = {}
        self._looking: asyncio.TimerHandle | None = None
        self._stretch = 0

    async def run(self, weight: int, work: Callable[[Unpack[Ts]], T], *args: *Ts) -> T:
        account = ACCOUNT.get() or Account()
        if weight <= SMALL:
            await self._breathe(weight)
            return work(*args)
        if account.left <= 0:
            raise account.make_too_costly()
        context = copy_context()
        job = _Job(account, lambda: context.run(work, *args), asyncio.get_running_loop().create_future())
        self._enter(job)
        try:
            result: T = await job.result
        except asyncio.CancelledError:
            self._leave(job)
            job.end()
            raise
        return result

    def close(self) -> None:
        """End what is under way; nothing more may be asked."""
        for job in self._running.values():
            job.end()
        for waiting in self._waiting.values():
            for job in waiting:
                job.result.cancel()
        self._waiting.clear()
        if self._looking is not None:
            self._looking.cancel()
        self._executor.shutdown(wait=True)

    async def _breathe(self, weight: int) -> None:
        """Let everything else have its turn when small work has added up."""
        self._stretch += weight
        if self._stretch > AT_A_STRETCH:
            self._stretch = weight
            await asyncio.sleep(0)

    def _enter(self, job: _Job) -> None:
        waiting = self._waiting.setdefault(job.account.owner, deque())
        if len(waiting) >= WAITING:
            raise Busy(f"{len(waiting)} computations of namespace {job.account.owner!r} wait already")
        waiting.append(job)
        self._begin()

    def _leave(self, job: _Job) -> None:
        waiting = self._waiting.get(job.account.owner, deque())
        with contextlib.suppress(ValueError):
            waiting.remove(job)
        if not waiting:
            self._waiting.pop(job.account.owner, None)

    def _begin(self) -> None:
        """Begin what waits: of every namespace one, the one that began longest ago first."""
        for owner in tuple(self._waiting):
            if not self._free:
                break
            if owner in self._running:
                continue
            waiting = self._waiting.pop(owner)
            job = waiting.popleft()
            if waiting:
                self._waiting[owner] = waiting  # behind all others
            self._start(owner, job)
        self._metrics.compute_waiting.set(sum(map(len, self._waiting.values())))
        if self._running and self._looking is None:
            self._looking = asyncio.get_running_loop().call_later(self._look, self._watch)

    def _start(self, owner: str, job: _Job) -> None:
        if job.account.left <= 0:
            _settle(job.result, job.account.make_too_costly())
            return
        self._free -= 1
        self._running[owner] = job
        left = job.account.left
        ended = asyncio.get_running_loop().run_in_executor(self._executor, _catch_outcome, job)
        ended.add_done_callback(lambda future: self._finish(owner, job, left, future.result()))

    def _finish(self, owner: str, job: _Job, left: float, outcome: tuple[Any, BaseException | None]) -> None:
        self._free += 1
        del self._running[owner]
        self._metrics.compute_seconds.inc(max(0.0, left - job.account.left))
        result, error = outcome
        if isinstance(error, _Ended):
            self._metrics.compute_ended.inc()
            error = job.account.make_too_costly()
        if error is not None:
            _settle(job.result, error)
        elif not job.result.done():
            job.result.set_result(result)
        self._begin()

    def _watch(self) -> None:
        for job in self._running.values():
            if job.is_over:
                job.end()
        self._looking = asyncio.get_running_loop().call_later(self._look, self._watch) if self._running else None


def _catch_outcome(job: _Job) -> tuple[Any, BaseException | None]:
    """Return a job's result, or catch its error. The pool must see neither: it would keep it, and end with _Ended."""
    try:
        try:
            return job.run(), None
        except BaseException as error:
            return None, error
    except _Ended as late:  # told in its last moment
        return None, late


def _settle(result: asyncio.Future[Any], error: BaseException) -> None:
    if not result.done():
        result.set_exception(error)
