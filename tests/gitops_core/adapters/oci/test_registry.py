"""The registry client and registries that misbehave."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import time
from collections.abc import AsyncIterator

import pytest
from multidict import CIMultiDict

from gitops_core.adapters.oci import OciRegistry
from gitops_core.adapters.oci.answers import LONGEST_CAUSE, Answer, make_failure
from gitops_core.adapters.oci.challenges import belongs, parse_challenges
from gitops_core.adapters.oci.transport import Limits
from gitops_core.errors import RegistryDenied, RegistryError, RegistryUnavailable, RepositoryUnknown
from gitops_core.meta import Sensitive
from gitops_core.oci.credentials import Credentials, RegistryAccess
from gitops_core.oci.references import Repository, parse_image
from sealoop.embedded.registry import Account, RegistryServer
from tests.servers.programs import free_port
from tests.servers.registry import hostile_registry

PASSWORD = "hunter2"
ACCOUNT = Credentials("bob", Sensitive(PASSWORD))


@pytest.fixture
async def host() -> AsyncIterator[str]:
    async with hostile_registry() as running:
        yield running


@pytest.fixture
async def registry() -> AsyncIterator[OciRegistry]:
    async with OciRegistry(Limits(read=1.0, total=5.0)) as client:
        yield client


@pytest.mark.parametrize("link", ["relative", "absolute", "query"])
async def test_all_pages_are_read(registry: OciRegistry, host: str, link: str) -> None:
    tags = await registry.list_tags(Repository(host, f"{link}/app", insecure=True))

    assert tags == tuple(f"1.0.{number}" for number in range(1, 8))


@pytest.mark.parametrize(
    ("behaviour", "count"),
    [("moved", 4), ("silent", 2500), ("deaf", 1000), ("modest", 250)],
)
async def test_no_page_is_lost_however_a_registry_pages(
    registry: OciRegistry, host: str, behaviour: str, count: int
) -> None:
    assert len(await registry.list_tags(Repository(host, f"{behaviour}/app", insecure=True))) == count


@pytest.mark.parametrize("status", [400, 403, 405, 501])
async def test_a_digest_is_read_by_get_where_head_is_refused(registry: OciRegistry, host: str, status: int) -> None:
    repository = Repository(host, f"no-head/{status}/app", insecure=True)

    assert await registry.resolve_digest(repository, "1.0.0") == f"sha256:{hashlib.sha256(b'{}').hexdigest()}"


async def test_a_refusal_without_a_number_of_tags_is_reported(registry: OciRegistry, host: str) -> None:
    with pytest.raises(RegistryUnavailable, match=r"/v2/choosy/app/tags/list: NAME_INVALID: no$"):
        await registry.list_tags(Repository(host, "choosy/app", insecure=True))


async def test_a_text_that_is_not_a_digest_is_not_taken_for_one(registry: OciRegistry, host: str) -> None:
    repository = Repository(host, "no-digest/app", insecure=True)

    assert await registry.resolve_digest(repository, "1.0.0") == f"sha256:{hashlib.sha256(b'{}').hexdigest()}"


async def test_no_tags_is_an_answer(registry: OciRegistry, host: str) -> None:
    assert await registry.list_tags(Repository(host, "null-tags/app", insecure=True)) == ()


async def test_a_challenge_that_leads_nowhere_troubles_no_open_repository(registry: OciRegistry, host: str) -> None:
    with pytest.raises(RegistryUnavailable):
        await registry.list_tags(Repository(host, "foreign-realm/app", insecure=True))

    assert await registry.list_tags(Repository(host, "null-tags/app", insecure=True)) == ()


async def test_ten_mebibytes_of_tags_are_read(registry: OciRegistry, host: str) -> None:
    assert len(await registry.list_tags(Repository(host, "huge/app", insecure=True))) == 100_000


@pytest.mark.parametrize(
    ("behaviour", "kind", "message"),
    [
        ("unauthorized", RegistryDenied, "UNAUTHORIZED: authentication required"),
        ("unknown", RepositoryUnknown, "NAME_UNKNOWN: repository name not known to registry"),
        ("busy", RegistryUnavailable, "unexpected status code 429 Too Many Requests"),
        ("broken", RegistryUnavailable, "unexpected status code 500 Internal Server Error"),
        ("echo", RegistryDenied, "DENIED: not bob:***"),
        ("errors", RegistryUnavailable, "the answer tells of errors, and not all tags"),
        ("html", RegistryUnavailable, "the answer is not a list of tags"),
        ("half", RegistryUnavailable, "the answer is not a list of tags"),
        ("odd-tags", RegistryUnavailable, "the answer is not a list of tags"),
        ("hang", RegistryUnavailable, "SocketTimeoutError"),
        ("hang-up", RegistryUnavailable, "ServerDisconnectedError"),
        ("foreign-realm", RegistryUnavailable, "the token server thief.invalid did not answer"),
    ],
)
async def test_an_error_says_what_the_registry_did(
    registry: OciRegistry, host: str, behaviour: str, kind: type[RegistryError], message: str
) -> None:
    with pytest.raises(kind) as caught:
        await registry.list_tags(Repository(host, f"{behaviour}/app", insecure=True), RegistryAccess(ACCOUNT))

    said = str(caught.value)
    assert message in said
    assert "hunter2" not in said
    assert "oops" not in said
    if behaviour != "foreign-realm":
        assert said == f"GET http://{host}/v2/{behaviour}/app/tags/list?n=1000: {message}"


@pytest.mark.parametrize("said", [b'{"errors": [{"code": "\xff"}]}', b'{"x":' + b"[" * 9999 + b"]" * 9999 + b"}"])
def test_an_error_that_cannot_be_read_is_told_by_its_status(said: bytes) -> None:
    answer = Answer("GET", "https://registry/v2/app", 500, CIMultiDict(), said)

    assert str(make_failure(answer, RegistryAccess(ACCOUNT))).endswith(
        ": unexpected status code 500 Internal Server Error"
    )


def test_a_header_that_is_repeated_is_not_told() -> None:
    header = base64.b64encode(f"bob:{PASSWORD}".encode()).decode()
    said = json.dumps({"errors": [{"code": "DENIED", "message": f"not Basic {header}"}]}).encode()
    answer = Answer("GET", "https://registry/v2/app", 401, CIMultiDict(), said)

    assert str(make_failure(answer, RegistryAccess(ACCOUNT))).endswith("DENIED: not Basic ***")


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ("Bearer 0a1B2c3D4e5F6a7B.8-_~+/= is no good", "Bearer *** is no good"),
        ("token eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJib2IifQ.c2lnbmVk ends", "token *** ends"),
        (
            "bearer token of sha256:0a1b2c3d4e5f6a7b8c9d is missing",
            "bearer token of sha256:0a1b2c3d4e5f6a7b8c9d is missing",
        ),
    ],
)
def test_a_token_that_a_token_server_gave_is_not_told_either(message: str, told: str) -> None:
    said = json.dumps({"errors": [{"code": "DENIED", "message": message}]}).encode()
    answer = Answer("GET", "https://registry/v2/app", 401, CIMultiDict(), said)

    assert str(make_failure(answer, RegistryAccess(ACCOUNT))).endswith(f"DENIED: {told}")


async def test_a_name_that_nobody_has_is_said() -> None:
    async with OciRegistry() as client:
        with pytest.raises(RegistryUnavailable, match=r"the host's name cannot be resolved$"):
            await client.list_tags(parse_image("registry.invalid/org/app").repository, RegistryAccess())


@pytest.mark.parametrize("before", range(LONGEST_CAUSE - 20, LONGEST_CAUSE))
def test_a_message_is_cut_behind_its_secrets_not_inside(before: int) -> None:
    said = json.dumps({"errors": [{"code": "DENIED", "message": "x" * before + PASSWORD}]}).encode()
    answer = Answer("GET", "https://registry/v2/app", 401, CIMultiDict(), said)

    assert PASSWORD[:3] not in str(make_failure(answer, RegistryAccess(ACCOUNT)))


@pytest.mark.parametrize(
    ("behaviour", "message"),
    [
        ("endless", "pages go round without new tags"),
        ("circle", "pages go round without new tags"),
        ("elsewhere", "pages go round without new tags"),
        ("empty", "pages go round without new tags"),
        ("garbled", "the Link header cannot be read"),
        ("flood", "the answer is longer than 33554432 bytes"),
    ],
)
async def test_a_listing_ends(registry: OciRegistry, host: str, behaviour: str, message: str) -> None:
    before = time.monotonic()

    with pytest.raises(RegistryUnavailable, match=message):
        await registry.list_tags(Repository(host, f"{behaviour}/app", insecure=True))

    assert time.monotonic() - before < 60


async def test_retry_after_is_kept(registry: OciRegistry, host: str) -> None:
    with pytest.raises(RegistryUnavailable) as caught:
        await registry.list_tags(Repository(host, "busy/app", insecure=True))

    assert caught.value.retry_after == 7.0


async def test_nobody_there(registry: OciRegistry) -> None:
    repository = parse_image(f"127.0.0.1:{free_port()}/apps/app").repository

    with pytest.raises(RegistryUnavailable, match=r"^GET http://.*: connection refused$"):
        await registry.list_tags(repository)


async def test_plain_http_is_found_on_loopback_without_being_asked_for(registry: OciRegistry) -> None:
    async with RegistryServer() as server:
        server.add("apps/app", "1.0.0")

        assert await registry.list_tags(parse_image(f"{server.host}/apps/app").repository) == ("1.0.0",)


async def test_a_token_is_used_again_until_it_expires(registry: OciRegistry) -> None:
    async with RegistryServer(account=Account("bob", "hunter2", "bearer")) as server:
        server.add("apps/app", "1.0.0")
        repository = Repository(server.host, "apps/app", insecure=True)
        for _ in range(3):
            await registry.list_tags(repository, RegistryAccess(ACCOUNT))

        asked = [path.partition("?")[0] for _, path in server.requests]

        assert asked.count("/token") == 1
        assert asked.count("/v2/apps/app/tags/list") == 4  # the first one was challenged


async def test_a_slow_host_delays_no_request_to_another(registry: OciRegistry, host: str) -> None:
    slow = [asyncio.create_task(registry.list_tags(Repository(host, f"hang/app{n}", insecure=True))) for n in range(20)]
    await asyncio.sleep(0.1)
    async with RegistryServer() as server:
        server.add("apps/app", "1.0.0")

        assert await registry.list_tags(Repository(server.host, "apps/app", insecure=True)) == ("1.0.0",)

        assert not any(task.done() for task in slow)
    for task in slow:
        task.cancel()
    await asyncio.gather(*slow, return_exceptions=True)


@pytest.mark.parametrize(
    ("realm", "registry_host", "over_http", "may"),
    [
        ("https://auth.docker.io/token", "index.docker.io", False, True),
        ("https://gitlab.com/jwt/auth", "registry.gitlab.com", False, True),
        ("https://ghcr.io/token", "ghcr.io", False, True),
        ("http://127.0.0.1:9/token", "127.0.0.1:5000", True, True),
        ("http://ghcr.io/token", "ghcr.io", False, False),
        ("https://thief.com/token", "ghcr.io", False, False),
        ("https://127.0.0.1/token", "ghcr.io", False, False),
        ("https://169.254.169.254/token", "10.0.0.1", False, False),
        ("ftp://ghcr.io/token", "ghcr.io", False, False),
        ("", "ghcr.io", True, False),
        ("https://io", "ghcr.io", False, False),
        ("https://evil.co.uk/token", "good.co.uk", False, False),
        ("https://evil.azurecr.io/token", "good.azurecr.io", False, False),
        ("https://evil.github.io/token", "good.github.io", False, False),
        ("https://auth.example.com:5001/token", "registry.example.com:5000", False, True),
        ("https://GHCR.io./token", "ghcr.io", False, True),
        ("https://ghcr.io:x/token", "ghcr.io", False, False),
        ("https://bob@ghcr.io/token", "ghcr.io", False, False),
        ("https://dockerauth.cn-hangzhou.aliyuncs.com/auth", "registry.cn-hangzhou.aliyuncs.com", False, True),
        (
            "https://dockerauth-ee.cn-hangzhou.aliyuncs.com/auth",
            "shop-registry.cn-hangzhou.cr.aliyuncs.com",
            False,
            True,
        ),
        ("https://dockerauth.oss-cn-hangzhou.aliyuncs.com/auth", "registry.cn-hangzhou.aliyuncs.com", False, False),
        (
            "https://evil-registry.cn-hangzhou.cr.aliyuncs.com",
            "shop-registry.cn-hangzhou.cr.aliyuncs.com",
            False,
            False,
        ),
    ],
)
def test_credentials_go_to_the_registrys_own_token_server_only(
    realm: str, registry_host: str, over_http: bool, may: bool
) -> None:
    assert belongs(realm, registry_host, over_http=over_http) == may


def test_odd_challenges_are_read_or_ignored() -> None:
    assert parse_challenges(["Negotiate", "Digest realm=x", "", "Bearer", '"']) == ()
    assert (
        parse_challenges([r'bearer realm="https://a/\"t\"", scope="x:y:pull,push", service=z'])[0].scope
        == "x:y:pull,push"
    )


async def test_a_registry_that_answers_nobody_keeps_nobody_waiting(host: str) -> None:
    """Who waits for it has a worker that others need."""
    async with OciRegistry(Limits(per_host=2, queue=0.2)) as registry:
        slow = [
            asyncio.create_task(registry.list_tags(Repository(host, f"hang/app{n}", insecure=True))) for n in range(2)
        ]
        await asyncio.sleep(0.05)

        with pytest.raises(
            RegistryUnavailable, match=r"busy or hangs: .*all 2 places are taken, and none was answered within 0\.2 s"
        ):
            await registry.list_tags(Repository(host, "hang/app", insecure=True))

        for task in slow:
            task.cancel()
        await asyncio.gather(*slow, return_exceptions=True)
