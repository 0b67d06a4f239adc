"""A value in Vault becomes a Kubernetes Secret, and a rotated value reaches it."""

from __future__ import annotations

import asyncio
import base64

from tests.journeys.surroundings import Surroundings
from tests.servers.vault import VaultServer


def external_secrets(around: Surroundings, server: str, role: str) -> None:
    auth = {"path": "approle", "roleId": role, "secretRef": {"name": "vault", "key": "secret-id"}}
    vault = {"server": server, "path": "secret", "version": "v2", "auth": {"appRole": auth}}
    around.apply(
        {
            "apiVersion": "external-secrets.io/v1",
            "kind": "SecretStore",
            "metadata": {"name": "vault"},
            "spec": {"provider": {"vault": vault}},
        },
        {
            "apiVersion": "external-secrets.io/v1",
            "kind": "ExternalSecret",
            "metadata": {"name": "database"},
            "spec": {
                "refreshInterval": "1s",
                "secretStoreRef": {"kind": "SecretStore", "name": "vault"},
                "data": [
                    {"secretKey": "PASSWORD", "remoteRef": {"key": f"{around.namespace}/db", "property": "password"}}
                ],
                "dataFrom": [{"extract": {"key": f"{around.namespace}/db"}}],
            },
        },
    )


async def test_rotation_reaches_the_cluster(around: Surroundings, vault_server: VaultServer) -> None:
    key = f"{around.namespace}/db"

    def value(name: str) -> str:
        data = around.get("secret/database").get("data") or {}
        return base64.b64decode(data.get(name, "")).decode()

    def story() -> None:
        vault_server.put(key, {"password": "hunter-one-7731", "user": "app"})
        vault_server.policy(around.namespace, f'path "secret/data/{around.namespace}/*" {{ capabilities = ["read"] }}')
        role, secret_id = vault_server.app_role(around.namespace, around.namespace)
        metadata = {"name": "vault"}
        around.apply(
            {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"secret-id": secret_id}}
        )
        external_secrets(around, vault_server.url, role)
        with around.serving() as service:
            around.until(lambda: value("PASSWORD") == "hunter-one-7731", "the Secret is made")
            assert value("user") == "app"

            vault_server.put(key, {"password": "hunter-two-8842", "user": "app"})
            around.until(lambda: value("PASSWORD") == "hunter-two-8842", "the rotated value arrives")
            assert around.ready("externalsecret/database")

            around.plane.kubectl("delete", "secret/database", "-n", around.namespace)
            around.until(lambda: value("PASSWORD") == "hunter-two-8842", "a deleted Secret is back")
            log = service.log.read_text()
        everything = log + around.plane.kubectl("get", "externalsecrets,events", "-n", around.namespace, "-o", "yaml")
        assert not any(secret in everything for secret in ("hunter-one-7731", "hunter-two-8842", secret_id))

    await asyncio.to_thread(story)
