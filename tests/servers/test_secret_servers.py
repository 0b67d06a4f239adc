"""The servers that secrets come from start, answer and are the real thing."""

import requests

from tests.servers.vault import VaultServer


def test_vault_keeps_versions(vault_server: VaultServer) -> None:
    vault_server.put("servers/a", {"x": "1"})
    vault_server.put("servers/a", {"x": "2"})

    answer = vault_server.call("GET", "secret/data/servers/a?version=1")

    assert answer["data"]["data"] == {"x": "1"}
    assert answer["data"]["metadata"]["version"] == 1


def test_aws_answers_its_secrets_manager(aws_server: str) -> None:
    answer = requests.post(
        aws_server,
        headers={
            "X-Amz-Target": "secretsmanager.CreateSecret",
            "Content-Type": "application/x-amz-json-1.1",
            "Authorization": "AWS4-HMAC-SHA256 Credential=a/20260101/eu-west-1/secretsmanager/aws4_request, "
            "SignedHeaders=host, Signature=0",
        },
        data='{"Name": "servers-a", "SecretString": "s"}',
        timeout=20,
    )

    assert answer.status_code == 200
    assert answer.json()["Name"] == "servers-a"
