"""A folder of Secrets that SOPS encrypted with age, beside the same folder in plain."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.crowd import Round, Spent, create_source, make_row
from bench.stage import KUSTOMIZATIONS, Stage, create, ready, stage, wait_until
from bench.table import Row
from sealoop.embedded.githttp import create_repository
from tests.servers.sops import SECRET_FIELDS, AgeKey, encrypt

ROUNDS = 5
DECRYPTIONS = "sealoop_decryptions_total"
DECRYPTION = {"decryption": {"provider": "sops", "secretRef": {"name": "keys"}}}
SECRETS = "/api/v1/namespaces/default/secrets"
PATH = f"{KUSTOMIZATIONS}/app"


async def measure_files(folder: Path, count: int) -> list[Row]:
    key = await asyncio.to_thread(AgeKey.make)
    plain = {f"app/{number:03}.yaml": write_secret(number) for number in range(count)}
    sealed = {
        path: await asyncio.to_thread(encrypt, folder, text, *SECRET_FIELDS, age=key) for path, text in plain.items()
    }
    encoded = {path: text.encode() for path, text in plain.items()}
    return [
        *await measure_folder(folder / "sealed", f"{count:,} encrypted files", sealed, key),
        *await measure_folder(folder / "plain", f"{count:,} files in plain", encoded),
    ]


def write_secret(number: int) -> str:
    about = f"apiVersion: v1\nkind: Secret\nmetadata: {{name: db-{number:03}, namespace: default}}\n"
    return f"{about}stringData: {{password: correct-horse-{number}}}\n"


async def measure_folder(folder: Path, label: str, files: Mapping[str, bytes], key: AgeKey | None = None) -> list[Row]:
    async with stage(folder) as at:
        await create_repository(at.remote, files)
        if key is not None:
            data = {"metadata": {"name": "keys"}, "stringData": {"age.agekey": key.identity}}
            await asyncio.to_thread(at.plane.expect, "POST", SECRETS, data)
        await asyncio.to_thread(create_source, at)
        created = await asyncio.to_thread(create_one, at, DECRYPTION if key is not None else {})
        decrypted = at.count(DECRYPTIONS)
        asked = [await asyncio.to_thread(ask_again, at) for _ in range(ROUNDS)]
        again = at.count(DECRYPTIONS) - decrypted
    return [
        make_row(f"{label}, created", [created], 1, f"{decrypted} decryptions"),
        make_row(f"{label}, asked again", asked, 1, f"{again} decryptions"),
    ]


def create_one(at: Stage, decryption: Mapping[str, Any]) -> Spent:
    this = Round(at)
    spec = {"interval": "1h", "prune": True, "path": "./app", **decryption}
    create(
        at.plane, KUSTOMIZATIONS, "Kustomization", "app", spec | {"sourceRef": {"kind": "GitRepository", "name": "app"}}
    )
    wait_until(lambda: ready(at.plane.expect("GET", PATH)))
    spent = this.end()
    time.sleep(2)
    return spent


def ask_again(at: Stage) -> Spent:
    this = Round(at)
    token = at.ask(PATH)
    wait_until(lambda: at.has_handled(PATH, token))
    return this.end()
