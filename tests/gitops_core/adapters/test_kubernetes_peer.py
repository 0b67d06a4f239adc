"""An API server (or whatever stands before it) that misbehaves costs one sentence, in time, and never our memory."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from prometheus_client import CollectorRegistry

from gitops_core.adapters.kubernetes import KubernetesCluster, KubernetesClusters
from gitops_core.adapters.kubernetes.clusters import LARGEST_ANSWER
from gitops_core.adapters.kubernetes.kubeconfig import Endpoint, StaticLogin
from gitops_core.adapters.local import LocalCluster
from gitops_core.errors import ClusterError, ClusterUnavailable, Expired, Invalid, KindUnknown, NotLeader
from gitops_core.meta import Kind, ObjectKey, ObjectRef, Sensitive
from gitops_core.ports import Compute, Query, WatchEvent
from gitops_core.runtime.authority.fencing import FencedCluster
from gitops_core.runtime.clock import SystemChance, SystemClock
from gitops_core.runtime.metrics import Metrics
from gitops_core.runtime.sharing.computing import IN_PLACE, Threads
from gitops_core.runtime.watching.informers import read_every_page
from tests.stretches import LONGEST, Stretches

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]

CONFIG_MAP = Kind("", "v1", "ConfigMap")
REF = ObjectRef(CONFIG_MAP, ObjectKey("shop", "settings"))
KINDS = {"kind": "APIResourceList", "resources": [{"name": "configmaps", "kind": "ConfigMap", "namespaced": True}]}
ADDED = b'{"type":"ADDED","object":{"metadata":{"name":"a","namespace":"shop","resourceVersion":"7"}}}\n'
BOOKMARK = b'{"type":"BOOKMARK","object":{"kind":"ConfigMap","metadata":{"resourceVersion":"9"}}}\n'
EXPIRED = b'{"type":"ERROR","object":{"kind":"Status","code":410,"reason":"Expired","message":"too old"}}\n'


@asynccontextmanager
async def facing(answer: Answer, seconds: float = 30.0) -> AsyncIterator[KubernetesCluster]:
    """A cluster whose server knows ConfigMaps, in the old way of discovery, and answers all else with `answer`."""

    async def kinds(request: web.Request) -> web.Response:
        return web.json_response(KINDS) if request.path == "/api/v1" else web.json_response({"kind": "APIVersions"})

    application = web.Application()
    application.router.add_get("/api", kinds)
    application.router.add_get("/api/v1", kinds)
    application.router.add_route("*", "/{rest:.*}", answer)
    async with TestServer(application) as server:
        url = str(server.make_url("")).rstrip("/")
        login = StaticLogin(Sensitive("Bearer hunter2"))
        cluster = KubernetesCluster(Endpoint(url, login), request_seconds=seconds)
        try:
            yield cluster
        finally:
            await cluster.close()


def says(code: int, text: str, **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}

    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=code, text=text, headers=named, content_type="text/html")

    return answer


def streams(*parts: bytes, cut: bool = False, length: int | None = None) -> Answer:
    """The parts as a body; then the connection is cut, or ended properly."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        response.content_length = length
        await response.prepare(request)
        for part in parts:
            await response.write(part)
        if cut and request.transport is not None:
            request.transport.close()
        return response

    return answer


async def test_all_who_ask_for_kinds_at_once_hear_of_one_failure() -> None:
    asked, all_wait = [], asyncio.Event()

    async def refuse(request: web.Request) -> web.Response:
        asked.append(request.path)
        await all_wait.wait()
        return web.Response(status=500)

    async with facing(refuse) as cluster:
        kinds = [Kind("apps", "v1", f"Kind{number}") for number in range(5)]
        waiting = [asyncio.create_task(cluster.find_api_resource(kind)) for kind in kinds]
        await asyncio.sleep(0)  # each has asked before the first is answered
        all_wait.set()
        found = await asyncio.gather(*waiting, return_exceptions=True)

    assert asked == ["/apis"]
    assert all(isinstance(error, ClusterUnavailable) for error in found)


async def watched(cluster: KubernetesCluster) -> list[WatchEvent[dict[str, object]]]:
    return [event async for event in cluster.watch(Query(CONFIG_MAP, "shop"), dict, "5")]


@pytest.mark.parametrize(
    ("answer", "seconds"),
    [
        (says(429, "slow down", Retry_After="70"), 70.0),
        (says(503, "<html>we are hunter2</html>", Retry_After="90"), 90.0),
        (says(500, "<html>we are hunter2</html>", Retry_After="80"), 80.0),
        (says(507, "<html>we are hunter2</html>", Retry_After="60"), 60.0),
        (says(429, '{"kind":"Status","message":"later","details":{"retryAfterSeconds":3}}'), 3.0),
        (says(502, "<html>bad gateway</html>"), None),
        (says(302, "", Location="http://evil.example/"), None),
    ],
)
async def test_a_busy_server_says_when_to_come_back(answer: Answer, seconds: float | None) -> None:
    async with facing(answer) as cluster:
        with pytest.raises(ClusterUnavailable) as caught:
            await cluster.get(REF)

    assert caught.value.retry_after == seconds
    assert "hunter2" not in str(caught.value)


class Busy:
    """Answers `code` to the first requests, then as it should; counts what arrives."""

    def __init__(self, code: int, times: int, retry_after: str | None = "0") -> None:
        self.code, self.times, self.retry_after = code, times, retry_after
        self.arrived: list[tuple[float, str]] = []

    async def answer(self, request: web.Request) -> web.Response:
        self.arrived.append((asyncio.get_running_loop().time(), request.method))
        if len(self.arrived) > self.times:
            is_list = request.method == "GET" and request.path.endswith("/configmaps")
            return web.json_response({"metadata": {"resourceVersion": "7"}, "items": []} if is_list else MAP)
        if not self.code and request.transport is not None:
            request.transport.abort()
        headers = {} if self.retry_after is None else {"Retry-After": self.retry_after}
        return web.Response(status=self.code or 500, headers=headers)


MAP = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings", "namespace": "shop"}}
METHODS: dict[str, Callable[[KubernetesCluster], Awaitable[object]]] = {
    "get": lambda cluster: cluster.get(REF),
    "list": lambda cluster: cluster.list(Query(CONFIG_MAP), dict),
    "create": lambda cluster: cluster.create(MAP, field_manager="m"),
    "replace": lambda cluster: cluster.replace(MAP, field_manager="m"),
    "apply": lambda cluster: cluster.apply(MAP, field_manager="m"),
    "patch": lambda cluster: cluster.patch(REF, {}, field_manager="m"),
    "delete": lambda cluster: cluster.delete(REF),
}
READS = ("get", "list")


@pytest.mark.parametrize("code", [429, 503])
@pytest.mark.parametrize("method", METHODS)
async def test_a_request_that_a_server_turns_away_is_sent_again(method: str, code: int) -> None:
    busy = Busy(code, times=3)
    async with facing(busy.answer) as cluster:
        await METHODS[method](cluster)

    assert len(busy.arrived) == 4
    assert len({name for _, name in busy.arrived}) == 1


async def test_a_request_is_not_sent_again_sooner_than_the_server_says() -> None:
    busy = Busy(429, times=2, retry_after="1")
    async with facing(busy.answer) as cluster:
        await cluster.apply(MAP, field_manager="m")

    (first, _), (second, _), (third, _) = busy.arrived
    assert second - first >= 0.99
    assert third - second >= 0.99


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("code", [500, 502, 504])
async def test_a_request_that_may_have_been_carried_out_is_repeated_only_if_it_reads(method: str, code: int) -> None:
    busy = Busy(code, times=1)
    async with facing(busy.answer) as cluster:
        if method in READS:
            await METHODS[method](cluster)
        else:
            with pytest.raises(ClusterUnavailable):
                await METHODS[method](cluster)

    assert len(busy.arrived) == (2 if method in READS else 1)


@pytest.mark.parametrize("method", ["get", "list", "create", "apply", "patch"])
async def test_only_a_read_is_sent_again_over_a_new_connection(method: str) -> None:
    busy = Busy(0, times=2)
    async with facing(busy.answer) as cluster:
        if method in READS:
            await METHODS[method](cluster)
        else:
            with pytest.raises(ClusterUnavailable, match="broke off"):
                await METHODS[method](cluster)

    assert len(busy.arrived) == (3 if method in READS else 1)


@pytest.mark.parametrize("code", [429, 500, 503])
async def test_a_server_that_does_not_say_when_is_not_asked_again(code: int) -> None:
    busy = Busy(code, times=1, retry_after=None)
    async with facing(busy.answer) as cluster:
        with pytest.raises(ClusterUnavailable):
            await cluster.get(REF)

    assert len(busy.arrived) == 1


async def test_a_server_that_is_always_busy_is_not_asked_for_ever() -> None:
    busy = Busy(429, times=1000)
    async with facing(busy.answer) as cluster:
        with pytest.raises(ClusterUnavailable):
            await cluster.get(REF)

    assert len(busy.arrived) == 11


async def test_a_request_that_waits_to_be_sent_again_holds_no_place() -> None:
    busy = Busy(429, times=64, retry_after="20")
    async with facing(busy.answer) as cluster:
        await cluster.find_api_resource(CONFIG_MAP)
        waiting = [asyncio.create_task(cluster.get(REF)) for _ in range(64)]
        while len(busy.arrived) < 64:  # noqa: ASYNC110  # a server that counts has no Event
            await asyncio.sleep(0.01)

        async with asyncio.timeout(15):  # while they wait
            await cluster.get(REF)

        assert len(busy.arrived) == 65
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


async def test_a_leader_that_is_deposed_between_two_attempts_makes_only_the_first() -> None:
    class Reign:
        def check(self) -> None:
            if busy.arrived:
                raise NotLeader("deposed")

    busy = Busy(503, times=1)
    async with facing(busy.answer) as cluster:
        with pytest.raises(NotLeader):
            await FencedCluster(cluster, Reign()).apply(MAP, field_manager="m")

    assert len(busy.arrived) == 1


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (says(200, "<html>sign in</html>"), "ConfigMap/shop/settings: .* something that is no object"),
        (says(200, '{"kind": "Conf'), "something that is no object"),
        (says(200, "[1]"), "something that is no object"),
        (streams(b'{"kind": "ConfigMap"', length=1000, cut=True), "broke off: ClientPayloadError"),
        (streams(b"{", length=10**12), "sent too much: the answer is longer than"),
        (says(200, "{}", Content_Encoding="gzip"), "broke off"),
    ],
)
async def test_a_body_that_is_no_object_is_unavailable(answer: Answer, sentence: str) -> None:
    async with facing(answer) as cluster:
        with pytest.raises(ClusterUnavailable, match=sentence):
            await cluster.get(REF)


TEMPLATE = "core.PodTemplateSpec{ObjectMeta:v1.ObjectMeta{" + 'Name:"", ' * 250 + "}}"


def refusal(code: int, message: str, *causes: tuple[str, str]) -> Answer:
    details = {"causes": [{"reason": "FieldValueInvalid", "message": said, "field": field} for field, said in causes]}
    return says(code, json.dumps({"kind": "Status", "code": code, "message": message, "details": details}))


async def test_a_field_that_cannot_change_is_named_without_the_value_that_the_server_repeats() -> None:
    template, selector = f"Invalid value: {TEMPLATE}: field is immutable", 'Invalid value: "x": field is immutable'
    message = f'Job.batch "web" is invalid: [spec.template: {template}, spec.selector: {selector}]'

    async with facing(refusal(422, message, ("spec.template", template), ("spec.selector", selector))) as cluster:
        with pytest.raises(Invalid) as caught:
            await cluster.patch(REF, {}, field_manager="m")

    expected = "[spec.template: field is immutable, spec.selector: field is immutable]"
    assert str(caught.value) == f'Job.batch "web" is invalid: {expected}'
    assert [fault.message for fault in caught.value.faults] == ["field is immutable"] * 2


async def test_a_fault_of_a_long_value_is_still_named() -> None:
    cause = f"Invalid value: {TEMPLATE}: must not be larger than a house"

    async with facing(
        refusal(422, f'Job.batch "web" is invalid: spec.template: {cause}', ("spec.template", cause))
    ) as c:
        with pytest.raises(Invalid) as caught:
            await c.patch(REF, {}, field_manager="m")

    assert str(caught.value).startswith(
        'Job.batch "web" is invalid: spec.template: Invalid value: core.PodTemplateSpec{'
    )
    assert str(caught.value).endswith(": must not be larger than a house")
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    "message",
    [
        "etcdserver: request is too large",
        "rpc error: code = ResourceExhausted desc = trying to send message larger than max (3145728 vs. 2097152)",
    ],
)
async def test_an_object_that_is_too_large_to_store_is_not_the_servers_trouble(message: str) -> None:
    async with facing(refusal(500, message)) as cluster:
        with pytest.raises(Invalid, match=r"too large|larger than max"):
            await cluster.patch(REF, {}, field_manager="m")


@pytest.mark.parametrize(("code", "error"), [(503, ClusterUnavailable), (404, KindUnknown)])
async def test_a_kind_missing_in_a_list_that_may_not_be_whole_is_asked_for_itself(
    code: int, error: type[ClusterError]
) -> None:
    async def starting(request: web.Request) -> web.Response:
        if request.path == "/apis":
            return web.json_response({"kind": "APIGroupDiscoveryList", "items": []})
        status = {"kind": "Status", "code": code, "message": "before all known HTTP paths have been installed"}
        return web.json_response(status, status=code, headers={"Retry-After": "0"})

    async with facing(starting) as cluster:
        with pytest.raises(error) as refused:
            await cluster.get(ObjectRef(Kind.of("shop.example/v1", "Basket"), ObjectKey("shop", "mine")))

    assert type(refused.value) is error


async def test_a_list_that_is_none_is_unavailable() -> None:
    async with facing(says(200, "<html>")) as cluster:
        with pytest.raises(ClusterUnavailable, match="answered a list with something else"):
            await cluster.list(Query(CONFIG_MAP), dict)


async def test_of_large_objects_few_are_asked_for_at_once_and_of_small_ones_many_again() -> None:
    names = [f"{n:02}" for n in range(40)]
    asked = []

    async def answer(request: web.Request) -> web.Response:
        begin, limit = int(request.query.get("continue", "0")), int(request.query["limit"])
        asked.append(limit)
        items = [{"metadata": {"name": name}, "data": {"x": "x" * (3 << 20 if name == "00" else 9)}} for name in names]
        end = begin + limit
        metadata = {"resourceVersion": "7", "continue": str(end) if end < len(names) else ""}
        return web.json_response({"metadata": metadata, "items": items[begin:end]})

    async with facing(answer) as cluster:
        found = await read_every_page(cluster, Query(CONFIG_MAP, "shop"), dict)

    assert [item["metadata"]["name"] for item in found] == names
    assert asked == [500, 125, 31, 7, 1, 2, 4, 8, 16, 32]


async def test_who_asked_for_one_object_gets_full_pages_after_that() -> None:
    asked = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(int(request.query["limit"]))
        return web.json_response({"metadata": {"resourceVersion": "7"}, "items": []})

    async with facing(answer) as cluster:
        await cluster.list(Query(CONFIG_MAP, "shop"), dict, limit=1)
        await cluster.list(Query(CONFIG_MAP, "shop"), dict)

    assert asked == [1, 500]


async def test_a_long_answer_is_not_decoded_in_the_loop() -> None:
    items = json.dumps([{"metadata": {"name": "a"}, "data": {"x": [[]] * 100_000}}] * 5)
    body = f'{{"metadata": {{"resourceVersion": "7"}}, "items": {items}}}'
    spent: list[float] = []

    async with facing(says(200, body)) as cluster:
        await cluster.find_api_resource(CONFIG_MAP)
        before, all_before = time.thread_time(), time.process_time()
        page = await cluster.list(Query(CONFIG_MAP, "shop"), dict)
        spent += [time.thread_time() - before, time.process_time() - all_before]

    assert len(page.items) == 5
    assert spent[0] < spent[1] / 2


async def test_an_endless_error_page_is_not_read_to_its_end() -> None:
    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(status=500)
        await response.prepare(request)
        while True:
            await response.write(bytes(65536))

    async with facing(endless) as cluster:
        with pytest.raises(ClusterUnavailable, match="the API server answered 500"):
            await cluster.get(REF)


async def test_a_server_that_hangs_is_given_up() -> None:
    async def hangs(request: web.Request) -> web.Response:
        await asyncio.sleep(30)
        return web.Response()

    async with facing(hangs, seconds=0.3) as cluster:
        with pytest.raises(ClusterUnavailable, match=r"did not answer within 0\.3 s"):
            await cluster.get(REF)


async def test_many_requests_share_few_connections_and_none_is_lost() -> None:
    peers, busy, most = set(), 0, 0

    async def slow(request: web.Request) -> web.Response:
        nonlocal busy, most
        busy, most = busy + 1, max(most, busy + 1)
        peers.add(request.transport.get_extra_info("peername") if request.transport else None)
        await asyncio.sleep(0.01)
        busy -= 1
        return web.json_response({"metadata": {"name": request.path.rpartition("/")[2]}})

    async with facing(slow) as cluster:
        names = [f"n{n}" for n in range(300)]
        found = await asyncio.gather(*(cluster.get(ObjectRef(CONFIG_MAP, ObjectKey("shop", name))) for name in names))

    assert [item["metadata"]["name"] for item in found if item is not None] == names
    assert most <= 64
    assert len(peers) <= 66


# Watches


async def test_a_watch_is_split_wherever_the_network_splits_it() -> None:
    text = (ADDED + BOOKMARK) * 3

    async with facing(streams(*(text[i : i + 1] for i in range(len(text))))) as cluster:
        events = await watched(cluster)

    assert [(event.type, event.resource_version) for event in events] == [("ADDED", "7"), ("BOOKMARK", "9")] * 3
    assert events[0].object == {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "a", "namespace": "shop", "resourceVersion": "7"},
    }


@pytest.mark.parametrize("rest", [b"", b'{"type":"MODIFIED","obj'])
@pytest.mark.parametrize("cut", [False, True])
async def test_a_watch_that_is_cut_ends_after_its_last_whole_event(rest: bytes, cut: bool) -> None:
    async with facing(streams(ADDED, rest, cut=cut)) as cluster:
        events = await watched(cluster)

    assert [event.type for event in events] == ["ADDED"]


async def test_a_watch_learns_in_the_middle_that_its_version_is_forgotten() -> None:
    async with facing(streams(ADDED, EXPIRED)) as cluster:
        with pytest.raises(Expired, match="too old"):
            await watched(cluster)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (streams(b"<html>\n"), ClusterUnavailable),
        (streams(b'{"type":"ERROR","object":{}}\n'), ClusterUnavailable),
        (streams(b'{"type":"ADDED","object":"' + bytes(1000), *[bytes(2**20)] * 40), ClusterUnavailable),
        (says(410, '{"kind":"Status","message":"too old"}'), Expired),
        (says(404, "404 page not found"), KindUnknown),
    ],
)
async def test_a_watch_of_something_else_is_an_error(answer: Answer, error: type[ClusterError]) -> None:
    async with facing(answer) as cluster:
        with pytest.raises(error):
            await watched(cluster)


async def test_a_watch_does_not_keep_other_requests_waiting() -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        if "watch" not in request.query:
            return web.json_response({"metadata": {"name": "settings"}})
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(ADDED)
        await asyncio.sleep(120)
        return response

    async with facing(answer) as cluster:
        watches = [cluster.watch(Query(CONFIG_MAP, "shop"), dict, "5") for _ in range(100)]
        first = await asyncio.gather(*(anext(watch) for watch in watches))
        async with asyncio.timeout(60):
            found = await cluster.get(REF)
        for watch in watches:
            await watch.aclose()  # type: ignore[attr-defined]

    assert found == {"metadata": {"name": "settings"}}
    assert len(first) == 100


async def test_a_kind_that_an_old_server_serves_no_more_is_not_listed() -> None:
    kinds = ["Box", "Crate"]

    async def answer(request: web.Request) -> web.Response:
        versions = [{"groupVersion": "x.io/v1", "version": "v1"}]
        match request.path:
            case "/apis":
                return web.json_response({"kind": "APIGroupList", "groups": [{"name": "x.io", "versions": versions}]})
            case "/apis/x.io/v1":
                return web.json_response({"resources": [{"name": k.lower(), "kind": k} for k in kinds]})
        return web.Response(status=404)

    async with facing(answer) as cluster:
        first = {resource.kind.kind for resource in await cluster.list_api_resources()}
        kinds.remove("Crate")
        second = {resource.kind.kind for resource in await cluster.list_api_resources()}

    assert first - second == {"Crate"}
    assert "Box" in second


@pytest.mark.parametrize(
    "kind",
    [
        Kind("", "v1/secrets", "Foo"),
        Kind("", "v1/secrets?watch=true&x", "Foo"),
        Kind("apps", "v1/namespaces/shop/deployments", "Foo"),
        Kind("x/../../api", "v1", "Foo"),
        Kind("..", "..", "Foo"),
        Kind("a%2fb", "v1", "Foo"),
        Kind("apps", "v1#", "Foo"),
        Kind("apps", "", "Foo"),
    ],
    ids=str,
)
async def test_a_kind_whose_version_would_be_another_path_is_not_asked_for(kind: Kind) -> None:
    asked = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.raw_path)
        return web.json_response({"kind": "SecretList", "items": []})

    async with facing(answer) as cluster:
        with pytest.raises(KindUnknown):
            await cluster.find_api_resource(kind)

    assert asked == []


async def test_of_a_kubeconfigs_server_no_more_is_read_than_an_object_may_take() -> None:
    sent = 0

    async def endless(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b'{"kind":"APIGroupDiscoveryList","items":[')
        while sent < 4 * LARGEST_ANSWER:
            await response.write(b"{}," * 20_000)
            sent += 60_000
        return response

    application = web.Application()
    application.router.add_get("/{rest:.*}", endless)
    async with TestServer(application) as server:
        named = {"clusters": {"server": str(server.make_url(""))}, "users": {"token": "t"}}
        lists = {
            kind: [{"name": "a", kind[:-1]: content}]
            for kind, content in {**named, "contexts": {"cluster": "a", "user": "a"}}.items()
        }
        config = json.dumps({"apiVersion": "v1", "kind": "Config", "current-context": "a", **lists})
        clusters = KubernetesClusters(LocalCluster.open(None, SystemClock(), SystemChance()), IN_PLACE, {})
        async with clusters.open(Sensitive(config.encode()), None) as target:
            with pytest.raises(ClusterUnavailable, match="sent too much"):
                await target.cluster.find_api_resource(Kind("apps", "v1", "Deployment"))

    assert sent < 2 * LARGEST_ANSWER


async def test_a_long_list_of_kinds_is_not_read_in_the_loop() -> None:
    entries = [{"name": f"a{number}", "kind": f"A{number}", "namespaced": True} for number in range(50_000)]
    spent: list[float] = []

    async with facing(says(200, json.dumps({"kind": "APIResourceList", "resources": entries}))) as cluster:
        before, all_before = time.thread_time(), time.process_time()
        found = await cluster.find_api_resource(Kind("a.example.com", "v1", "A7"))
        spent += [time.thread_time() - before, time.process_time() - all_before]

    assert found.plural == "a7"
    assert spent[0] < spent[1] / 2


def serve_kinds(number: int, **more: object) -> dict[str, object]:
    """What a server says of that many kinds, in one group."""
    kinds = [
        {
            "resource": f"widgets{n}",
            "scope": "Namespaced",
            "responseKind": {"group": "example.com", "version": "v1", "kind": f"Widget{n}"},
            "verbs": ["get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"],
            **more,
        }
        for n in range(number)
    ]
    group = {"metadata": {"name": "example.com"}, "versions": [{"version": "v1", "resources": kinds}]}
    return {"kind": "APIGroupDiscoveryList", "items": [group]}


@asynccontextmanager
async def discovering(answer: object, compute: Compute) -> AsyncIterator[KubernetesCluster]:
    """A cluster whose server says that of its kinds."""
    body = json.dumps(answer).encode()

    async def kinds(request: web.Request) -> web.Response:
        if request.path not in ("/api", "/apis"):
            raise web.HTTPNotFound
        return web.Response(body=body, content_type="application/json")

    application = web.Application()
    application.router.add_get("/{rest:.*}", kinds)
    async with TestServer(application) as server:
        endpoint = Endpoint(str(server.make_url("")).rstrip("/"), StaticLogin(Sensitive("Bearer hunter2")))
        cluster = KubernetesCluster(endpoint, compute=compute)
        try:
            yield cluster
        finally:
            await cluster.close()


async def test_a_long_list_of_kinds_is_read_beside_the_loop() -> None:
    measured, metrics = Stretches(), Metrics(CollectorRegistry())
    with closing(Threads(metrics)) as compute:
        async with discovering(serve_kinds(5000), compute) as cluster:
            with measured.measured():
                found = await cluster.find_api_resource(Kind("example.com", "v1", "Widget4999"))
                everything = await cluster.list_api_resources()

    assert (found.plural, found.namespaced, len(everything)) == ("widgets4999", True, 5000)
    assert measured.longest < LONGEST, measured.where
    assert metrics.registry.get_sample_value("sealoop_compute_seconds_total")


TOO_MANY = {"metadata": {"name": "example.com"}, "versions": [{"version": "v1", "resources": [0] * 100_001}]}


@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        (serve_kinds(1) | {"items": [TOO_MANY]}, "the API server serves more than 100000 kinds"),
        (serve_kinds(1, shortNames=["x" * 70_000]), "the API server says more than 64 KiB of one kind"),
        ({"kind": "APIGroupDiscoveryList", "items": [0] * 2_000_002}, "has more than 2000000 values"),
        ({"kind": "APIVersions", "versions": [f"v{n}" for n in range(100_001)]}, "serves more than 100000 kinds"),
        ({"kind": "APIGroupDiscoveryList", "items": [[[0]]]}, "the API server's list of kinds cannot be read"),
    ],
    ids=["too many kinds", "a kind that is too long", "too many values", "too many versions", "not kinds"],
)
async def test_a_list_of_kinds_that_no_server_has_is_refused(answer: object, cause: str) -> None:
    async with discovering(answer, IN_PLACE) as cluster:
        with pytest.raises(ClusterUnavailable, match=cause):
            await cluster.list_api_resources()
