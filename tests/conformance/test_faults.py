"""What users see when the world around the service fails, and that it heals without anybody's help."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sealoop.embedded.githttp import GitServer
from tests.conformance.stage import PASSWORD, USER, Stage
from tests.journeys.surroundings import Surroundings, config_map, flux
from tests.servers.programs import answers, clean_environment, free_port, start
from tests.servers.vault import VaultServer

SOURCE = {"kind": "GitRepository", "name": "app"}


def source(url: str, **more: Any) -> dict[str, Any]:
    return flux("source", "GitRepository", "app", url=url, interval="1s", ref={"branch": "main"}, **more)


def sync(place: Surroundings, **more: Any) -> dict[str, Any]:
    base = {"path": "./app", "interval": "2s", "retryInterval": "1s", "prune": True}
    return flux("kustomize", "Kustomization", "app", sourceRef=SOURCE, targetNamespace=place.namespace, **base, **more)


def test_a_wrong_password_is_told_without_it_and_a_right_one_heals(served: Stage) -> None:
    place, repository = served.place("password"), served.repository("locked-1", {"app/one.yaml": config_map("one")})
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "git"}}
    place.apply(secret | {"stringData": {"username": USER, "password": "hunter-wrong-5512"}})
    place.apply(source(repository.url, secretRef={"name": "git"}), sync(place))

    place.until(lambda: "access denied" in place.condition("gitrepository/app")["message"], "the password is refused")

    message = place.condition("gitrepository/app")["message"]
    assert message.endswith("access denied: no credentials were given, or they were refused")
    told = place.plane.kubectl("get", "events,gitrepositories", "-n", place.namespace, "-o", "yaml") + place.log()
    assert "hunter-wrong" not in told
    place.apply(secret | {"stringData": {"username": USER, "password": PASSWORD}})
    place.until(lambda: place.get("configmap/one"), "the right password heals")


def test_registries_that_hang_or_talk_nonsense_keep_nobody_from_work(served: Stage) -> None:
    place = served.place("registries")
    served.registry.push(f"{place.namespace}/good", "1.0.0")
    odd = {"busy": "429", "html": "not", "unauthorized": "UNAUTHORIZED", "broken": "500", "hang-up": ""}
    hanging = [f"hang-{number}" for number in range(12)]
    images = {name: f"{served.hostile}/{name}/app" for name in odd}
    images["busy"] = images["busy"].replace("127.0.0.1", "localhost")  # it asks for a pause, which is the whole host's
    images |= {name: f"{served.hanging}/hang/{name}" for name in hanging}
    place.apply(
        *(
            flux("image", "ImageRepository", name, image=image, interval="5m", timeout="10m", insecure=True)
            for name, image in images.items()
        )
    )
    good = f"{served.registry.host}/{place.namespace}/good"
    place.apply(flux("image", "ImageRepository", "good", image=good, interval="5m", insecure=True))

    place.until(lambda: place.ready("imagerepository/good"), "the good one is scanned beside twelve that hang")

    def told(name: str) -> dict[str, Any]:
        return place.condition(f"imagerepository/{name}")

    place.until(lambda: all(told(name)["reason"] == "ReadOperationFailed" for name in odd), "the others are told")
    for name, words in odd.items():
        message = told(name)["message"]
        assert words in message
        assert "<html>" not in message


def test_a_git_server_that_was_away_changes_nothing_and_is_found_again(served: Stage) -> None:
    place, repository = served.place("away"), served.repository("away", {"app/one.yaml": config_map("one", a="1")})
    port = free_port()
    server = GitServer(served.folder / "git", port=port)
    served.loop.run(server.start())
    place.apply(source(f"http://127.0.0.1:{port}/away.git"), sync(place))
    place.until(lambda: place.ready("kustomization/app"), "the folder is applied")

    served.loop.run(server.stop())
    place.until(lambda: place.condition("gitrepository/app")["status"] == "False", "the source is told to be away")

    message = place.condition("gitrepository/app")["message"]
    assert "cannot be reached" in message or "connect" in message.lower()
    assert place.ready("kustomization/app")
    assert place.get("configmap/one")
    commit = repository.commit({"app/one.yaml": config_map("one", a="2")})
    again = GitServer(served.folder / "git", port=port)
    served.loop.run(again.start())
    place.until(lambda: place.get("configmap/one")["data"] == {"a": "2"}, "the server is found again")
    place.until(lambda: place.get("kustomization/app")["status"]["lastAppliedRevision"].endswith(commit), "applied")
    served.loop.run(again.stop())


@pytest.fixture
def own_vault(tmp_path: Path) -> Any:
    """Starts a Vault at the same place again and again."""
    port, token = free_port(), "root-of-the-faults"
    url, started = f"http://127.0.0.1:{port}", []

    def begin() -> tuple[VaultServer, Callable[[], None]]:
        command = ["bao", "server", "-dev", "-dev-no-store-token", f"-dev-listen-address=127.0.0.1:{port}"]
        environment = clean_environment(tmp_path, BAO_DEV_ROOT_TOKEN_ID=token)
        running = start(command, folder=tmp_path, environment=environment, name="bao")
        started.append(running)
        running.wait_until(lambda: answers(f"{url}/v1/sys/health"))
        return VaultServer(url, token), running.kill

    yield begin
    for running in started:
        running.kill()


def test_a_vault_that_was_away_leaves_the_secret_and_is_found_again(served: Stage, own_vault: Any) -> None:
    place = served.place("vault")
    vault, end = own_vault()
    vault.put("db", {"password": "one"})
    auth = {"tokenSecretRef": {"name": "vault", "key": "token"}}
    api = "external-secrets.io/v1"
    reference = {"secretKey": "password", "remoteRef": {"key": "db", "property": "password"}}
    provider = {"vault": {"server": vault.url, "path": "secret", "version": "v2", "auth": auth}}
    external = {
        "secretStoreRef": {"kind": "SecretStore", "name": "vault"},
        "refreshInterval": "1s",
        "data": [reference],
    }
    place.apply(
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "vault"}, "stringData": {"token": vault.token}},
        {"apiVersion": api, "kind": "SecretStore", "metadata": {"name": "vault"}, "spec": {"provider": provider}},
        {"apiVersion": api, "kind": "ExternalSecret", "metadata": {"name": "db"}, "spec": external},
    )

    def value() -> str:
        return base64.b64decode((place.get("secret/db").get("data") or {}).get("password", "")).decode()

    place.until(lambda: value() == "one", "the Secret is made")
    end()
    place.until(lambda: place.condition("externalsecret/db")["status"] == "False", "that Vault is away is told")
    assert value() == "one"

    vault, _ = own_vault()
    vault.put("db", {"password": "two"})
    place.until(lambda: value() == "two", "Vault is found again")
    place.until(lambda: place.ready("externalsecret/db"), "and all is well")
