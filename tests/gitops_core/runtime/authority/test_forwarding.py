"""What wraps a cluster passes every request on as it came, whatever its method and arguments."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, cast

import pytest

from gitops_core.ports import Cluster
from gitops_core.runtime.authority.bounded import NamespaceBound
from gitops_core.runtime.authority.fencing import FencedCluster
from gitops_core.runtime.authority.forwarding import Forwarding, Request
from gitops_core.runtime.authority.leave import Open

A = TypeVar("A")
METHODS = dict(inspect.getmembers(Cluster, lambda m: inspect.isfunction(m) and not m.__name__.startswith("_")))
REQUESTS = {"get", "list", "create", "replace", "apply", "patch", "delete", "request_token"}
READINGS = {"get", "list", "watch", "request_token"}


class Diary:
    """Writes down what each method was called with, by the names of its parameters."""

    def __init__(self) -> None:
        self.entries: list[tuple[str, dict[str, Any]]] = []

    def __getattr__(self, name: str) -> Any:
        signature = inspect.signature(METHODS[name])

        def note(*args: Any, **options: Any) -> None:
            bound = signature.bind(self, *args, **options)
            bound.apply_defaults()
            self.entries.append((name, dict(bound.arguments)))

        async def note_later(*args: Any, **options: Any) -> None:
            note(*args, **options)

        return note_later if inspect.iscoroutinefunction(METHODS[name]) else note


def call(cluster: Any, method: str, *, complete: bool) -> None:
    """Call with a value of its own for each parameter: for all, or for those without a default."""
    args, options = [], {}
    for name, parameter in list(inspect.signature(METHODS[method]).parameters.items())[1:]:
        if parameter.default is inspect.Parameter.empty or complete:
            if parameter.kind is inspect.Parameter.KEYWORD_ONLY:
                options[name] = f"the {name}"
            else:
                args.append(f"the {name}")
    found = getattr(cluster, method)(*args, **options)
    if inspect.iscoroutine(found):
        asyncio.run(found)


@pytest.mark.parametrize("complete", [True, False], ids=["all arguments", "required arguments"])
@pytest.mark.parametrize("method", METHODS)
def test_a_request_reaches_the_inner_cluster_with_its_arguments(method: str, complete: bool) -> None:
    diary = Diary()

    call(Forwarding(cast(Cluster, diary)), method, complete=complete)
    call(diary, method, complete=complete)

    forwarded, direct = diary.entries
    assert forwarded == direct


@pytest.mark.parametrize("wrapper", [Forwarding, FencedCluster, NamespaceBound])
@pytest.mark.parametrize("method", METHODS)
def test_a_wrapper_has_the_signatures_of_the_port(wrapper: type[Forwarding], method: str) -> None:
    assert inspect.signature(getattr(wrapper, method)) == inspect.signature(METHODS[method])


class Noting(Forwarding):
    def __init__(self, inner: Cluster) -> None:
        super().__init__(inner)
        self.seen: list[tuple[str, str, bool]] = []

    def check(self, request: Request) -> None:
        self.seen.append(("check", request.method, request.is_write))

    async def carry(self, request: Request, send: Callable[[], Awaitable[A]]) -> A:
        self.seen.append(("carry", request.method, request.is_write))
        return await send()


@pytest.mark.parametrize("method", sorted(REQUESTS | {"watch"}))
def test_the_hooks_see_every_request_before_it_leaves(method: str) -> None:
    noting, is_write = Noting(cast(Cluster, Diary())), method not in READINGS

    call(noting, method, complete=False)

    expected = [("check", method, is_write)] + ([] if method == "watch" else [("carry", method, is_write)])
    assert noting.seen == expected


def test_a_wrapper_wraps_the_handles_that_are_made_of_it() -> None:
    fence = Open()
    fenced = FencedCluster(cast(Cluster, Diary()), fence)

    for handle in (fenced.impersonate("jane"), fenced.connect_apart()):
        assert isinstance(handle, FencedCluster)
        assert handle.fence is fence
