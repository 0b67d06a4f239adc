"""What is pushed is what `flux push artifact` pushes, and what is pulled is what was pushed, and never more."""

from __future__ import annotations

import asyncio
import gzip
import io
import json
import os
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import requests
from click.testing import CliRunner, Result

from gitops_core.api import Kustomization, OCIRepository
from sealoop.artifacts.packing import File, pack
from sealoop.main import main
from tests.gitops_core.reconcilers.realworld import ready, real_world
from tests.servers.artifacts import layer, push
from tests.servers.registry import PASSWORD, USER, RealRegistry, TlsRegistry

SAID = ["--source", "https://git.example.com/fleet", "--revision", "main@sha1:abc"]
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG_MAP = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: one, namespace: default}\ndata: {v: '1'}\n"


def called(*words: str | Path, stdin: str | None = None, **environment: str) -> Result:
    clean = {"DOCKER_CONFIG": "/nonexistent", "SEALOOP_CREDS": "", **environment}
    return CliRunner().invoke(main, [str(word) for word in words], prog_name="sealoop", input=stdin, env=clean)


def pushed(*words: str | Path, stdin: str | None = None, **environment: str) -> Mapping[str, str]:
    shown = called("push", "artifact", *words, *SAID, "-o", "json", stdin=stdin, **environment)
    assert shown.exit_code == 0, shown.output
    told: Mapping[str, str] = json.loads(shown.output)
    return told


def fetch(host: str, path: str) -> requests.Response:
    with requests.Session() as session:
        session.trust_env = False
        return session.get(f"http://{host}/v2/{path}", headers={"Accept": MANIFEST}, timeout=30)


def make(folder: Path, files: Mapping[str, str]) -> Path:
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    return folder


def read(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_an_artifact_has_the_form_of_flux_s(open_registry: RealRegistry, tmp_path: Path) -> None:
    folder = make(tmp_path / "in", {"app/one.yaml": CONFIG_MAP})

    told = pushed(f"oci://{open_registry.host}/flux/form:v1", "--path", folder, "-a", "com.example.team=blue")

    digest = told["digest"]
    repository = f"{open_registry.host}/flux/form"
    url = f"oci://{repository}@{digest}"
    assert told == {"url": url, "repository": repository, "tag": "v1", "digest": digest}
    answer = fetch(open_registry.host, "flux/form/manifests/v1")
    manifest: Any = answer.json()
    assert answer.headers["Docker-Content-Digest"] == digest
    assert (manifest["schemaVersion"], manifest["mediaType"]) == (2, MANIFEST)
    assert manifest["config"]["mediaType"] == "application/vnd.cncf.flux.config.v1+json"
    (only,) = manifest["layers"]
    assert only["mediaType"] == "application/vnd.cncf.flux.content.v1.tar+gzip"
    created = manifest["annotations"].pop("org.opencontainers.image.created")
    assert created.endswith("Z")
    assert manifest["annotations"] == {
        "org.opencontainers.image.source": "https://git.example.com/fleet",
        "org.opencontainers.image.revision": "main@sha1:abc",
        "com.example.team": "blue",
    }
    config: Any = fetch(open_registry.host, f"flux/form/blobs/{manifest['config']['digest']}").json()
    assert config["rootfs"]["type"] == "layers"


def test_the_same_files_are_the_same_artifact_whenever_and_by_whomever_they_are_pushed(
    open_registry: RealRegistry, tmp_path: Path
) -> None:
    files = {"b.yaml": "b", "a/c.yaml": "c", "a.yaml": "a"}
    one, two = make(tmp_path / "one", files), make(tmp_path / "two", dict(reversed(files.items())))
    for path in two.rglob("*"):
        os.utime(path, (1, 1))
    (two / "b.yaml").chmod(0o640)

    where = f"oci://{open_registry.host}/flux/same"
    digests = {pushed(f"{where}:{folder.name}", "--path", folder, "--reproducible")["digest"] for folder in (one, two)}

    assert len(digests) == 1


def test_what_is_packed_is_read_by_tar_and_says_nothing_of_this_machine() -> None:
    packed = pack({"run.sh": File(b"#!", executable=True), "a/é.yaml": File(b"a")})

    assert gzip.decompress(packed.layer) == packed.tar
    with tarfile.open(fileobj=io.BytesIO(packed.layer)) as archive:
        entries = {entry.name: (entry.mode, entry.uid, entry.gid, entry.uname, entry.mtime) for entry in archive}
    assert entries == {"run.sh": (0o700, 0, 0, "", 0), "a/é.yaml": (0o600, 0, 0, "", 0)}


def test_what_is_pushed_is_pulled(open_registry: RealRegistry, tmp_path: Path) -> None:
    files = {"app/one.yaml": CONFIG_MAP, "app/deep/er/two.txt": "2\n", "run.sh": "#!/bin/sh\n"}
    told = pushed(f"oci://{open_registry.host}/flux/round:v1", "--path", make(tmp_path / "in", files))

    for reference in (":v1", f"@{told['digest']}"):
        out = tmp_path / f"out{reference[:3]}"
        shown = called("pull", "artifact", f"oci://{open_registry.host}/flux/round{reference}", "--output", out)

        assert shown.exit_code == 0, shown.output
        assert shown.output == (
            "source https://git.example.com/fleet\n"
            "revision main@sha1:abc\n"
            f"digest {told['digest']}\n"
            f"artifact content extracted to {out}\n"
        )
        assert read(out) == files


def test_what_is_no_manifest_stays_here(open_registry: RealRegistry, tmp_path: Path) -> None:
    folder = make(tmp_path / "in", {"a.yaml": "a", "logo.png": "p", ".git/config": "g", "x/b.zip": "z", "s.txt": "s"})
    (tmp_path / "outside").write_text("secret")
    (folder / "link.yaml").symlink_to(tmp_path / "outside")
    (folder / "linked").symlink_to(tmp_path)

    where = f"oci://{open_registry.host}/flux/left"
    pushed(f"{where}:usual", "--path", folder)
    pushed(f"{where}:own", "--path", folder, "--ignore-paths", "*.txt,a.yaml")
    for tag in ("usual", "own"):
        assert called("pull", "artifact", f"{where}:{tag}", "-o", tmp_path / tag).exit_code == 0

    assert set(read(tmp_path / "usual")) == {"a.yaml", "s.txt"}
    assert set(read(tmp_path / "own")) == {"logo.png", "x/b.zip"}


def test_one_file_and_standard_input_are_artifacts_too(open_registry: RealRegistry, tmp_path: Path) -> None:
    where, file = f"oci://{open_registry.host}/flux/single", tmp_path / "one.yaml"
    file.write_text(CONFIG_MAP)
    pushed(f"{where}:file", "--path", file)
    pushed(f"{where}:stdin", "--path", "-", stdin=CONFIG_MAP)
    for tag in ("file", "stdin"):
        called("pull", "artifact", f"{where}:{tag}", "-o", tmp_path / tag)

    assert read(tmp_path / "file") == {"one.yaml": CONFIG_MAP}
    assert read(tmp_path / "stdin") == {"manifests.yaml": CONFIG_MAP}


@pytest.mark.parametrize("how", ["flag", "environment", "docker"])
@pytest.mark.parametrize("kind", ["password_registry", "token_registry"])
def test_a_registry_that_asks_who_we_are_is_told(
    how: str, kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    registry: RealRegistry = request.getfixturevalue(kind)
    folder, url = make(tmp_path / "in", {"a.yaml": "a"}), f"oci://{registry.host}/flux/{how}:v1"
    docker = make(
        tmp_path, {"config.json": json.dumps({"auths": {registry.host: {"username": USER, "password": PASSWORD}}})}
    )
    words = ["--creds", f"{USER}:{PASSWORD}"] if how == "flag" else []
    environment = {"SEALOOP_CREDS": f"{USER}:{PASSWORD}"} if how == "environment" else {}
    environment |= {"DOCKER_CONFIG": str(docker)} if how == "docker" else {}

    refused = called("push", "artifact", url, "--path", folder, *SAID)
    assert refused.exit_code == 1
    pushed(url, "--path", folder, *words, **environment)
    shown = called("pull", "artifact", url, "-o", tmp_path / "out", *words, **environment)

    assert shown.exit_code == 0, shown.output
    assert PASSWORD not in refused.output + shown.output
    assert read(tmp_path / "out") == {"a.yaml": "a"}


def test_an_untrusted_certificate_is_taken_only_when_it_is_said(tls_registry: TlsRegistry, tmp_path: Path) -> None:
    folder, url = make(tmp_path / "in", {"a.yaml": "a"}), f"oci://{tls_registry.host}/flux/tls:v1"

    refused = called("push", "artifact", url, "--path", folder, *SAID)
    pushed(url, "--path", folder, "--insecure-registry")

    assert refused.exit_code == 1
    assert "certificate is not trusted" in refused.output


@pytest.mark.parametrize(
    ("words", "cause"),
    [
        (["ghcr.io/org/app:v1"], "URL must be in format 'oci://"),
        (["oci://ghcr.io/Org/App:v1"], "could not parse reference"),
        (["oci://ghcr.io/org/app@sha256:" + "a" * 64], "an artifact is pushed under a tag"),
        (["oci://127.0.0.1:1/a/b:v1", "-a", "no"], "invalid annotation 'no'"),
    ],
)
def test_a_command_that_makes_no_sense_is_told_why(words: list[str], cause: str, tmp_path: Path) -> None:
    shown = called("push", "artifact", *words, "--path", make(tmp_path / "in", {"a": "a"}), *SAID)

    assert shown.exit_code == 1
    assert cause in shown.output


def test_a_path_that_is_not_there_is_told() -> None:
    shown = called("push", "artifact", "oci://127.0.0.1:1/a/b:v1", "--path", "/nonexistent", *SAID)

    assert "invalid path '/nonexistent', must point to an existing directory or file" in shown.output


def test_a_hostile_artifact_writes_nothing(open_registry: RealRegistry, tmp_path: Path) -> None:
    info = tarfile.TarInfo("../evil")
    info.size = 1
    body = gzip.compress(pack({"good": File(b"g")}).tar[:1024] + info.tobuf() + b"x" + b"\0" * 511 + b"\0" * 1024)
    push(open_registry.host, "flux/hostile", {"layers": [layer(body)]}, "v1")

    shown = called("pull", "artifact", f"oci://{open_registry.host}/flux/hostile:v1", "-o", tmp_path / "out" / "in")

    assert shown.exit_code == 1
    assert "invalid name error '../evil'" in shown.output
    assert list(tmp_path.rglob("*")) == []


@pytest.mark.parametrize("place", ["app", "app/one.yaml"])
def test_a_link_that_is_there_is_not_written_through(place: str, open_registry: RealRegistry, tmp_path: Path) -> None:
    url = f"oci://{open_registry.host}/flux/link:v1"
    pushed(url, "--path", make(tmp_path / "in", {"app/one.yaml": "new"}))
    outside = make(tmp_path / "outside", {"one.yaml": "old"})
    link = tmp_path / "out" / place
    link.parent.mkdir(parents=True)
    link.symlink_to(outside if place == "app" else outside / "one.yaml")

    shown = called("pull", "artifact", url, "-o", tmp_path / "out")

    assert shown.exit_code == 1
    assert "symbolic link" in shown.output
    assert read(outside) == {"one.yaml": "old"}


async def test_what_was_pushed_is_applied(open_registry: RealRegistry, tmp_path: Path) -> None:
    url = f"oci://{open_registry.host}/flux/applied"
    folder = make(tmp_path / "in", {"app/one.yaml": CONFIG_MAP})
    told = await asyncio.to_thread(pushed, f"{url}:v1", "--path", folder)
    async with real_world(tmp_path / "state") as world, world.running():
        await world.make(OCIRepository, "r", url=url, interval="24h", ref={"tag": "v1"})
        reference = {"kind": "OCIRepository", "name": "r"}
        await world.make(Kustomization, "apps", interval="24h", prune=True, path="./app", sourceRef=reference)

        live = await world.until(Kustomization.KIND, "apps", lambda live: ready(live)[0] == "True")
        assert live["status"]["lastAppliedRevision"] == f"v1@{told['digest']}"
