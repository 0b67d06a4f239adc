"""A real Vault API: OpenBao's dev server, and a client to put secrets, policies and roles into it.

    secret/   key-value engine, version 2          kv1/   version 1          auth/approle

One server for the whole test session; tests use keys of their own.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import requests

from tests.servers.programs import answers, clean_environment, free_port, running


@dataclass(frozen=True)
class VaultServer:
    """A running server and its root token."""

    url: str
    token: str

    def put(self, key: str, data: Any) -> None:
        """Store the JSON text or object `data` as the next version of `key` in secret/."""
        text = data if isinstance(data, str) else json.dumps(data)
        self.call("POST", f"secret/data/{key}", f'{{"data": {text}}}')

    def put_v1(self, key: str, data: Any) -> None:
        self.call("POST", f"kv1/{key}", json.dumps(data))

    def mount(self, path: str, version: int, namespace: str = "") -> None:
        """Put a key-value engine of this version at `path`."""
        place = f"{namespace}/sys/mounts/{path}".lstrip("/")
        self.call("POST", place, json.dumps({"type": "kv", "options": {"version": str(version)}}))

    def upgrade(self, path: str) -> None:
        """Make a key-value engine of version 1 one of version 2, and wait until it is."""
        self.call("POST", f"sys/mounts/{path}/tune", '{"options": {"version": "2"}}')
        deadline = time.monotonic() + 30
        while self.status(f"{path}/config") != 200:
            assert time.monotonic() < deadline, "the upgrade does not end"
            time.sleep(0.1)

    def status(self, path: str) -> int:
        """Return the status of the answer to a GET."""
        return requests.get(f"{self.url}/v1/{path}", headers={"X-Vault-Token": self.token}, timeout=10).status_code

    def delete(self, key: str) -> None:
        """Mark the newest version of `key` in secret/ as deleted."""
        self.call("DELETE", f"secret/data/{key}")

    def policy(self, name: str, rules: str) -> None:
        self.call("PUT", f"sys/policies/acl/{name}", json.dumps({"policy": rules}))

    def token_for(self, policy: str) -> str:
        answer = self.call("POST", "auth/token/create", json.dumps({"policies": [policy]}))
        return str(answer["auth"]["client_token"])

    def app_role(self, name: str, policy: str, ttl: str = "1h") -> tuple[str, str]:
        """Make an AppRole. Returns its role id and a secret id."""
        settings = {"token_policies": [policy], "token_ttl": ttl, "token_max_ttl": "4h"}
        self.call("POST", f"auth/approle/role/{name}", json.dumps(settings))
        role = self.call("GET", f"auth/approle/role/{name}/role-id")["data"]["role_id"]
        secret = self.call("POST", f"auth/approle/role/{name}/secret-id", "{}")["data"]["secret_id"]
        return str(role), str(secret)

    def accessors(self) -> frozenset[str]:
        """Return every token that is alive, by accessor."""
        return frozenset(self.call("LIST", "auth/token/accessors")["data"]["keys"])

    def call(self, method: str, path: str, body: str = "") -> Any:
        headers = {"X-Vault-Token": self.token, "Content-Type": "application/json"}
        with requests.Session() as session:
            session.trust_env = False
            answer = session.request(method, f"{self.url}/v1/{path}", data=body.encode(), headers=headers, timeout=10)
        if answer.status_code >= 400:
            raise AssertionError(f"{method} {path}: HTTP {answer.status_code}: {answer.text}")
        return answer.json() if answer.content else None


@pytest.fixture(scope="session")
def vault_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VaultServer]:
    folder = tmp_path_factory.mktemp("vault")
    port, token = free_port(), secrets.token_hex(16)
    url = f"http://127.0.0.1:{port}"
    command = ["bao", "server", "-dev", "-dev-no-store-token", f"-dev-listen-address=127.0.0.1:{port}"]
    environment = clean_environment(folder, BAO_DEV_ROOT_TOKEN_ID=token)
    with running(
        command, folder=folder, ready=lambda: answers(f"{url}/v1/sys/health"), environment=environment, name="bao"
    ):
        server = VaultServer(url, token)
        server.mount("kv1", version=1)
        server.call("POST", "sys/auth/approle", '{"type": "approle"}')
        yield server
