"""The sops program as we run it: it opens what it shall, says nothing of the inside, and reaches nobody it need not."""

from __future__ import annotations

import asyncio
import base64
import http.server
import json
import os
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import pysequoia
import pytest

from gitops_core.adapters.sandbox import Finished, Limits, Sandboxed
from gitops_core.adapters.sops import Sops, SopsUnavailable
from gitops_core.domain.render.encrypted import Block, Recipient, take_apart
from gitops_core.domain.render.sopskeys import SopsKeys, parse_keys
from gitops_core.errors import DecryptionFailed, MacMismatch
from gitops_core.meta import Sensitive
from tests.servers.sops import SECRET_FIELDS, AgeKey, encrypt
from tests.servers.vault import VaultServer

PASSWORD = "hunter2-4711-tiger"  # what must be seen nowhere
SECRET = f"""\
# of the team
apiVersion: v1
kind: Secret
metadata:
  name: db
stringData:
  user: alice  # the first
  password: {PASSWORD}
  port: 5432
  empty: ""
"""


@pytest.fixture(scope="module")
def key() -> AgeKey:
    return AgeKey.make()


def _make_keys(**entries: str | bytes) -> SopsKeys:
    data = {name.replace("__", "."): text.encode() if isinstance(text, str) else text for name, text in entries.items()}
    return parse_keys(data, is_ambient=False)


async def _open(sops: Sops, data: bytes, keys: SopsKeys, path: str = "a.yaml", *, check_mac: bool = True) -> bytes:
    (piece,) = take_apart(data, path)
    assert piece.format is not None
    assert piece.block is not None
    return await sops.decrypt(piece.text, piece.format, piece.block, keys, check_mac=check_mac)


@pytest.mark.parametrize(
    ("format_", "path", "text"),
    [
        ("yaml", "a.yaml", SECRET),
        ("json", "a.json", json.dumps({"user": "alice", "password": PASSWORD, "n": 5, "list": ["a", True, None]})),
        ("dotenv", "a.env", f"# settings\nUSER=alice\nPASSWORD={PASSWORD}=x\n"),
        ("dotenv", "settings", f"USER=alice\nPASSWORD={PASSWORD}\n"),
        ("ini", "a.ini", f"[main]\nuser = alice\npassword = {PASSWORD}\n"),
        ("binary", "key.der", b"\x00\x01\xfe\xff" + PASSWORD.encode()),
        ("binary", "note.txt", f"the password is {PASSWORD}\n"),
    ],
)
async def test_every_format_is_found_by_what_the_file_says_and_opened(
    tmp_path: Path, key: AgeKey, format_: str, path: str, text: str | bytes
) -> None:
    sealed = encrypt(tmp_path, text, age=key, format_=format_)

    opened = await _open(Sops(), sealed, _make_keys(x__agekey=key.identity), path)

    assert PASSWORD.encode() not in sealed
    if format_ == "json":
        assert json.loads(opened) == json.loads(text)
    elif format_ == "yaml":
        assert f"password: {PASSWORD}" in opened.decode()
        assert "# of the team" in opened.decode()
    elif format_ == "ini":
        assert re.search(rf"password *= {PASSWORD}", opened.decode())
    else:
        assert opened == (text.encode() if isinstance(text, str) else text)


async def test_a_key_of_openpgp_opens_without_gnupg(tmp_path: Path) -> None:
    own, other = (pysequoia.Tsk.generate(user_id=f"{name} <{name}@example.com>") for name in ("ann", "bob"))
    home = tmp_path / "gnupg"
    home.mkdir(mode=0o700)
    (home / "pubring.gpg").write_bytes(bytes(own.extract_certificate()))
    fingerprint = own.extract_certificate().fingerprint.upper()
    sealed = encrypt(tmp_path, SECRET, "--pgp", fingerprint, *SECRET_FIELDS, environment={"GNUPGHOME": str(home)})
    several = f"{other}\n{own}"

    assert PASSWORD in (await _open(Sops(), sealed, _make_keys(own__asc=str(own)))).decode()
    assert PASSWORD in (await _open(Sops(), sealed, _make_keys(ring__asc=several.replace("\n", "\r\n")))).decode()
    with pytest.raises(DecryptionFailed, match=f"^no key opens it: it is for pgp {fingerprint}$"):
        await _open(Sops(), sealed, _make_keys(other__asc=str(other)))


@pytest.mark.parametrize("how", ["value", "mac", "name", "no mac", "moved", "added"])
async def test_what_was_changed_since_is_refused_and_nothing_of_the_inside_is_said(
    tmp_path: Path, key: AgeKey, how: str
) -> None:
    sealed = encrypt(tmp_path, SECRET, *SECRET_FIELDS, age=key).decode()
    user, password = re.findall(r"ENC\[.*type:str\]", sealed)[:2]
    changed = {
        "value": sealed.replace(password, password.replace("type:str", "type:int")),
        "mac": re.sub(r"lastmodified: .*", 'lastmodified: "2020-01-01T00:00:00Z"', sealed),
        "name": sealed.replace("name: db", "name: other"),
        "no mac": re.sub(r"    mac: .*\n", "", sealed),
        "moved": sealed.replace(user, "x").replace(password, user).replace(": x", f": {password}"),
        "added": sealed.replace("stringData:\n", "stringData:\n    new: plain\n"),
    }[how]
    assert changed != sealed
    kind = MacMismatch if how in ("mac", "name", "no mac") else DecryptionFailed

    with pytest.raises(DecryptionFailed) as caught:
        await _open(Sops(), changed.encode(), _make_keys(x__agekey=key.identity))

    assert type(caught.value) is kind
    assert "hunter" not in str(caught.value)
    assert "alice" not in str(caught.value)


async def test_a_changed_name_passes_where_the_mac_is_not_checked(tmp_path: Path, key: AgeKey) -> None:
    sealed = encrypt(tmp_path, SECRET, *SECRET_FIELDS, age=key).replace(b"name: db", b"name: other")

    opened = await _open(Sops(), sealed, _make_keys(x__agekey=key.identity), check_mac=False)

    assert b"name: other" in opened
    assert PASSWORD.encode() in opened


def _make_transit(vault: VaultServer, name: str) -> tuple[str, str]:
    """Make a key in Vault's transit engine, and a token that may decrypt with it. Returns its URI and the token."""
    if vault.status("sys/mounts/transit") != 200:
        vault.call("POST", "sys/mounts/transit", '{"type": "transit"}')
    vault.call("POST", f"transit/keys/{name}", "{}")
    vault.policy(f"open-{name}", f'path "transit/decrypt/{name}" {{ capabilities = ["update"] }}')
    return f"{vault.url}/v1/transit/keys/{name}", vault.token_for(f"open-{name}")


async def test_vaults_transit_engine_opens_with_a_token_that_may(tmp_path: Path, vault_server: VaultServer) -> None:
    uri, token = _make_transit(vault_server, "sops-open")
    own, other = (parse_keys({"sops.vault-token": text}, is_ambient=False) for text in (token.encode(), b"hvs.none"))
    environment = {"VAULT_TOKEN": vault_server.token}
    sealed = encrypt(tmp_path, SECRET, "--hc-vault-transit", uri, *SECRET_FIELDS, environment=environment)

    assert PASSWORD in (await _open(Sops(), sealed, own)).decode()
    with pytest.raises(DecryptionFailed, match=r"; the key service answers 403$"):
        await _open(Sops(), sealed, other)
    with pytest.raises(DecryptionFailed, match="the operator does not let its address be asked"):
        await _open(Sops(vault_addresses=("https://vault.example.com",)), sealed, own)


async def test_a_key_of_aws_opens_with_the_credentials_of_the_secret(tmp_path: Path, aws_server: str) -> None:
    credentials = {"AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any"}
    kms = boto3.client(
        "kms", "eu-west-1", endpoint_url=aws_server, aws_access_key_id="any", aws_secret_access_key="any"
    )
    arn = kms.create_key()["KeyMetadata"]["Arn"]
    places = {"AWS_ENDPOINT_URL_KMS": aws_server}
    sealed = encrypt(tmp_path, SECRET, "--kms", arn, *SECRET_FIELDS, environment={**credentials, **places})
    keys = parse_keys({"sops.aws-kms": b"aws_access_key_id: any\naws_secret_access_key: any\n"}, is_ambient=False)

    assert PASSWORD in (await _open(Sops(environment=places), sealed, keys)).decode()
    assert (
        PASSWORD
        in (await _open(Sops(environment={**places, **credentials}), sealed, SopsKeys(is_ambient=True))).decode()
    )
    with pytest.raises(DecryptionFailed, match=f"^no key opens it: it is for kms {arn}$"):  # nobody's credentials
        await _open(Sops(environment={**places, **credentials}), sealed, parse_keys({}, is_ambient=False))


async def test_a_key_of_google_opens_with_the_credentials_of_the_secret(tmp_path: Path) -> None:
    with _google() as url:
        places = {"SOPS_GCP_KMS_CLIENT_TYPE": "rest", "SOPS_GCP_KMS_ENDPOINT": url}
        account = json.dumps({"type": "authorized_user", "client_id": "a", "client_secret": "b", "refresh_token": "c"})
        keys = parse_keys({"sops.gcp-kms": account.encode()}, is_ambient=False)
        name = "projects/p/locations/global/keyRings/r/cryptoKeys/k"
        environment = {**places, "GOOGLE_OAUTH_ACCESS_TOKEN": "token"}
        sealed = encrypt(tmp_path, SECRET, "--gcp-kms", name, *SECRET_FIELDS, environment=environment)

        with pytest.raises(DecryptionFailed, match=f"no key opens it: it is for gcp_kms {name}"):
            await _open(Sops(environment=places), sealed, keys)  # whose token nobody here gives out
        ambient = {**places, "GOOGLE_OAUTH_ACCESS_TOKEN": "token"}
        opened = await _open(Sops(environment=ambient), sealed, SopsKeys(is_ambient=True))

    assert PASSWORD in opened.decode()


@contextmanager
def _google() -> Iterator[str]:
    """Serve what Google's key service answers: it only turns the bytes around."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked: dict[str, Any] = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            given, made = ("plaintext", "ciphertext") if ":encrypt" in self.path else ("ciphertext", "plaintext")
            turned = base64.b64encode(base64.b64decode(asked[given])[::-1]).decode()
            answer = json.dumps({made: turned}).encode()
            self.send_response(200 if self.headers["Authorization"] == "Bearer token" else 401)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def _listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        yield server


def _was_called(server: socket.socket) -> bool:
    try:
        server.accept()[0].close()
    except TimeoutError:
        return False
    return True


async def test_an_address_in_a_file_is_not_called_where_a_key_at_hand_opens_it_or_no_token_is_for_it(
    tmp_path: Path, key: AgeKey, vault_server: VaultServer
) -> None:
    uri, token = _make_transit(vault_server, "sops-elsewhere")
    both = encrypt(
        tmp_path,
        SECRET,
        "--hc-vault-transit",
        uri,
        *SECRET_FIELDS,
        age=key,
        environment={"VAULT_TOKEN": vault_server.token},
    )
    with _listener() as server:
        moved = both.replace(vault_server.url.encode(), f"http://127.0.0.1:{server.getsockname()[1]}".encode())
        credentials = {"x.agekey": key.identity.encode(), "sops.vault-token": token.encode()}

        assert PASSWORD in (await _open(Sops(), moved, parse_keys(credentials, is_ambient=False))).decode()
        assert not _was_called(server)

        with pytest.raises(DecryptionFailed):
            await _open(Sops(), moved, SopsKeys(is_ambient=True))
        assert not _was_called(server)

        other = AgeKey.make()
        with pytest.raises(DecryptionFailed):
            await _open(
                Sops(limits=Limits(seconds=2.0)),
                moved,
                parse_keys({"x.agekey": other.identity.encode(), "sops.aws-kms": b"{aws_access_key_id: a}"}),
            )
        assert not _was_called(server)


async def test_the_network_is_open_only_for_what_no_key_at_hand_opens(
    tmp_path: Path, key: AgeKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs: list[bool] = []
    run = Sandboxed.run

    def note(program: Sandboxed) -> Finished:
        runs.append(program.may_connect)
        return run(program)

    monkeypatch.setattr(Sandboxed, "run", note)
    sealed = encrypt(tmp_path, SECRET, *SECRET_FIELDS, age=key)
    vault = (
        "{vault_address: 'http://127.0.0.1:9', engine_path: a, key_name: b, created_at: '2026-01-01T00:00:00Z', enc: x}"
    )
    service = sealed.replace(b"sops:\n", f"sops:\n    hc_vault: [{vault}]\n".encode())

    await _open(Sops(), service, parse_keys({"x.agekey": key.identity.encode()}))
    with pytest.raises(DecryptionFailed):
        await _open(Sops(), sealed, parse_keys({}))
    with pytest.raises(DecryptionFailed):
        await _open(Sops(), service, parse_keys({}, is_ambient=False))
    assert runs == [False] * 3

    with pytest.raises(DecryptionFailed):
        await _open(Sops(), service, parse_keys({}))
    assert runs == [False] * 4 + [True]


async def test_nothing_is_left_in_memory_or_on_a_disk(tmp_path: Path, key: AgeKey) -> None:
    own = pysequoia.Tsk.generate(user_id="ann <ann@example.com>")
    sealed = encrypt(tmp_path, SECRET, *SECRET_FIELDS, age=key)
    before = set(os.listdir("/dev/shm"))

    await _open(Sops(), sealed, _make_keys(x__agekey=key.identity, own__asc=str(own)))

    left = {name for name in set(os.listdir("/dev/shm")) - before if name.startswith(f"sealoop-build-{os.getpid()}-")}
    assert not left


async def test_a_missing_program_and_one_that_hangs_are_told(tmp_path: Path, key: AgeKey) -> None:
    sealed = encrypt(tmp_path, SECRET, *SECRET_FIELDS, age=key)
    keys = _make_keys(x__agekey=key.identity)
    slow = tmp_path / "slow"
    slow.write_text("#!/bin/sh\nwhile :; do :; done\n")
    slow.chmod(0o755)

    with pytest.raises(SopsUnavailable, match="cannot run /none/sops: "):
        await _open(Sops("/none/sops"), sealed, keys)
    with pytest.raises(SopsUnavailable, match=r"longer than 0\.5s"):
        await _open(Sops(str(slow), limits=Limits(seconds=0.5)), sealed, keys)


async def test_what_is_no_file_of_sops_and_what_is_too_large_is_refused_in_one_sentence(key: AgeKey) -> None:
    keys = _make_keys(x__agekey=key.identity)
    with pytest.raises(DecryptionFailed, match=r"^no key opens it: it is for nobody$|^sops cannot read it$"):
        await _open(Sops(), b"a: b\nsops: {mac: x, lastmodified: never}\n", keys)
    with pytest.raises(DecryptionFailed, match="larger than 5 MiB"):
        await _open(Sops(), b"a: b\nsops: {mac: x}\nc: " + b"x" * (6 << 20) + b"\n", keys)


async def test_every_run_of_the_program_is_counted(key: AgeKey, tmp_path: Path) -> None:
    runs: list[None] = []
    sops = Sops(count=lambda: runs.append(None))
    data = encrypt(tmp_path, SECRET, *SECRET_FIELDS, age=key)

    for _ in range(2):
        await _open(sops, data, _make_keys(a__agekey=key.identity))

    assert len(runs) == 2


async def test_who_brings_credentials_of_one_service_asks_no_other_with_those_of_this_machine(tmp_path: Path) -> None:
    told = tmp_path / "sops"
    told.write_text('#!/bin/sh\nset\n[ -n "$VAULT_TOKEN" ] || exit 128\n')
    told.chmod(0o755)
    own = {
        "AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://169.254.170.2",
        "AWS_REGION": "eu-central-1",
        "AZURE_CLIENT_ID": "ours",
        "AZURE_FEDERATED_TOKEN_FILE": "/etc/hostname",
        "GOOGLE_APPLICATION_CREDENTIALS": "/etc/hostname",
    }
    block = Block((Recipient("gcp_kms", "x"),), "", "m", True)
    sops = Sops(str(told), environment=own)

    shown = await sops.decrypt(b"x", "yaml", block, SopsKeys(environment={"VAULT_TOKEN": Sensitive("t")}))

    found = dict(line.split("=", 1) for line in shown.decode().splitlines() if "=" in line)
    assert found["VAULT_TOKEN"].strip("'") == "t"
    assert found["AWS_REGION"].strip("'") == "eu-central-1"
    assert found["AWS_EC2_METADATA_DISABLED"].strip("'") == "true"
    assert found["AZURE_TOKEN_CREDENTIALS"].strip("'") == "EnvironmentCredential"
    assert found["GOOGLE_APPLICATION_CREDENTIALS"].strip("'") == "/nonexistent/credentials"
    assert not {"AWS_CONTAINER_CREDENTIALS_FULL_URI", "AZURE_CLIENT_ID", "AZURE_FEDERATED_TOKEN_FILE"} & found.keys()


async def test_a_key_service_that_hangs_keeps_nobody_from_what_a_key_at_hand_opens(tmp_path: Path) -> None:
    program = tmp_path / "sops"
    program.write_text(
        '#!/bin/sh\n[ -n "$SOPS_AGE_KEY" ] && exit 0\n[ -n "$VAULT_TOKEN" ] || exit 128\nwhile :; do :; done\n'
    )
    program.chmod(0o755)
    sops = Sops(str(program), at_once=1)
    asked = Block((Recipient("hc_vault", "http://127.0.0.1:1"),), "", "m", True)
    hanging = asyncio.create_task(
        sops.decrypt(b"x", "yaml", asked, SopsKeys(environment={"VAULT_TOKEN": Sensitive("t")}))
    )
    try:
        while not sops._asking._running:
            assert not hanging.done()
            await asyncio.sleep(0.01)

        at_hand = Block((Recipient("age", "age1x"),), "", "m", True)
        assert await sops.decrypt(b"x", "yaml", at_hand, SopsKeys(Sensitive("AGE-SECRET-KEY-1X"))) == b""
        assert not hanging.done()
    finally:
        hanging.cancel()
        await asyncio.wait({hanging})
