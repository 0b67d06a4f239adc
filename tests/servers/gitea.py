"""A real Gitea on loopback, with SQLite: one server for the whole test session, a repository for each test.

What people do is done through the API, as its web pages do.
"""

from __future__ import annotations

import base64
import itertools
import os
import re
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.servers.programs import (
    ROOT,
    ProgramMissing,
    answers,
    clean_environment,
    free_port,
    program,
    running,
)

USER, PASSWORD = "robot", "correct-horse-battery"
SHARE = ROOT / ".tools" / "bin" / "gitea-share"

_NUMBERS = itertools.count(1)


@dataclass(frozen=True)
class GiteaRepository:
    """A repository of a running Gitea.

    Attributes:
        path: `OWNER/NAME`.
        url: what it is cloned by, without credentials.
    """

    server: GiteaServer
    path: str

    @property
    def url(self) -> str:
        return f"{self.server.url}/{self.path}.git"

    def pulls(self) -> list[dict[str, Any]]:
        """Return every pull request as the API shows it, oldest first."""
        found = self.server.call("GET", f"/repos/{self.path}/pulls?state=all")
        return sorted(found, key=lambda pull: int(pull["number"]))

    def edit_pull(self, number: int, **changes: Any) -> None:
        """Edit, close (state="closed") or open (state="open") a pull request, as a person does."""
        self.server.call("PATCH", f"/repos/{self.path}/pulls/{number}", changes)

    def merge(self, number: int) -> None:
        """Merge a pull request; Gitea answers 405 for as long as it has not looked whether it can be."""
        self.server.call("POST", f"/repos/{self.path}/pulls/{number}/merge", {"Do": "merge"}, patience=50)

    def comments(self, number: int) -> list[str]:
        return [str(c["body"]) for c in self.server.call("GET", f"/repos/{self.path}/issues/{number}/comments")]

    def label(self, name: str) -> None:
        self.server.call("POST", f"/repos/{self.path}/labels", {"name": name, "color": "#00aabb"})

    def commit(self, files: Mapping[str, bytes], *, branch: str = "main", since: str = "main") -> str:
        """Commit `files` on top of a branch, made from `since` when new, as somebody; return the commit."""
        branches = {str(each["name"]) for each in self.server.call("GET", f"/repos/{self.path}/branches") or ()}
        changes = [
            {"operation": "upload", "path": path, "content": base64.b64encode(content).decode()}
            for path, content in files.items()
        ]
        wanted = {"files": changes, "message": "A change", "branch": branch}
        if branches and branch not in branches:
            wanted |= {"branch": since, "new_branch": branch}
        made = self.server.call("POST", f"/repos/{self.path}/contents", wanted)
        return str(made["commit"]["sha"])

    def delete_branch(self, name: str) -> None:
        self.server.call("DELETE", f"/repos/{self.path}/branches/{name}")

    def file(self, path: str, branch: str = "main") -> bytes:
        found = self.server.call("GET", f"/repos/{self.path}/contents/{path}?ref={branch}")
        return base64.b64decode(found["content"])


@dataclass(frozen=True)
class GiteaServer:
    """A running Gitea and a token of its administrator."""

    url: str
    token: str
    folder: Path
    config: Path

    def repository(self, owner: str = USER) -> GiteaRepository:
        """Make a new, empty repository."""
        name = f"app{next(_NUMBERS)}"
        path = "/user/repos" if owner == USER else f"/orgs/{owner}/repos"
        self.call("POST", path, {"name": name, "default_branch": "main", "private": True})
        return GiteaRepository(self, f"{owner}/{name}")

    def organization(self, name: str) -> None:
        self.call("POST", "/orgs", {"username": name})

    def new_token(self, scopes: str, user: str = USER) -> str:
        name = f"token{next(_NUMBERS)}"
        return _make_token(self.config, self.folder, user, name, scopes)

    def fork(self, repository: GiteaRepository, owner: str) -> GiteaRepository:
        """Fork `repository` for an organization."""
        self.call("POST", f"/repos/{repository.path}/forks", {"organization": owner})
        name = repository.path.partition("/")[2]
        return GiteaRepository(self, f"{owner}/{name}")

    def call(self, method: str, path: str, body: Any = None, *, patience: int = 1) -> Any:
        """Ask the API; an answer that is 405 or 409 is asked for again `patience` times, 0.2 s apart."""
        headers = {"Authorization": f"token {self.token}"}
        with requests.Session() as session:
            session.trust_env = False
            for number in range(patience):
                time.sleep(0.2 if number else 0)
                answer = session.request(method, f"{self.url}/api/v1{path}", json=body, headers=headers, timeout=20)
                if answer.status_code not in (405, 409):
                    break
        if answer.status_code >= 400:
            raise AssertionError(f"{method} {path}: HTTP {answer.status_code}: {answer.text}")
        return answer.json() if answer.content else None


@pytest.fixture(scope="session")
def gitea(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GiteaServer]:
    folder = tmp_path_factory.mktemp("gitea")
    if not SHARE.is_dir():
        raise ProgramMissing("the tests need what Gitea reads: `make tools` puts it into .tools/bin/gitea-share")
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    config = folder / "app.ini"
    config.write_text(_configuration(folder, port))
    _run(config, folder, "migrate")
    options = ("--username", USER, "--password", PASSWORD, "--email", f"{USER}@example.com")
    _admin(config, folder, "create", "--admin", "--must-change-password=false", *options)
    token = _make_token(config, folder, USER, "tests", "all")
    command: list[str | Path] = ["gitea", "web", "--config", config]
    environment = _environment(folder)
    with running(
        command, folder=folder, ready=lambda: answers(f"{url}/api/healthz"), environment=environment, timeout=60
    ):
        yield GiteaServer(url, token, folder, config)


def _configuration(folder: Path, port: int) -> str:
    unsafe = "I_AM_BEING_UNSAFE_RUNNING_AS_ROOT = true\n" if os.geteuid() == 0 else ""
    return f"""APP_NAME = tests
RUN_MODE = prod
WORK_PATH = {folder}
{unsafe}
[server]
HTTP_ADDR = 127.0.0.1
HTTP_PORT = {port}
ROOT_URL = http://127.0.0.1:{port}/
STATIC_ROOT_PATH = {SHARE.resolve()}
DISABLE_SSH = true
OFFLINE_MODE = true
LFS_START_SERVER = false

[database]
DB_TYPE = sqlite3
PATH = {folder}/gitea.db
SQLITE_JOURNAL_MODE = WAL

[security]
INSTALL_LOCK = true
SECRET_KEY = only-for-tests
INTERNAL_TOKEN = only-for-tests
PASSWORD_HASH_ALGO = pbkdf2$1$10

[service]
DISABLE_REGISTRATION = true

[indexer]
ISSUE_INDEXER_TYPE = db

[session]
PROVIDER = memory

[cron]
ENABLED = false

[actions]
ENABLED = false

[picture]
DISABLE_GRAVATAR = true

[log]
MODE = console
LEVEL = Warn
"""


def _environment(folder: Path) -> dict[str, str]:
    return clean_environment(folder, USER="robot", GITEA_WORK_DIR=str(folder), GIT_CONFIG_NOSYSTEM="1")


def _admin(config: Path, folder: Path, *arguments: str) -> str:
    return _run(config, folder, "admin", "user", *arguments)


def _make_token(config: Path, folder: Path, user: str, name: str, scopes: str) -> str:
    options = ("--username", user, "--token-name", name, "--scopes", scopes, "--raw")
    printed = _admin(config, folder, "generate-access-token", *options)
    # its log comes out there too, before or after
    tokens: list[str] = re.findall(r"^[0-9a-f]{40}$", printed, re.MULTILINE)
    if len(tokens) != 1:
        raise AssertionError(f"gitea printed {len(tokens)} tokens, not one, for {user}: {printed}")
    return tokens[0]


def _run(config: Path, folder: Path, *arguments: str) -> str:
    """Run a gitea command and return what it prints."""
    done = subprocess.run(
        [program("gitea"), "--config", config, *arguments],
        cwd=folder, env=_environment(folder), text=True, capture_output=True, timeout=60,
    )  # fmt: skip
    if done.returncode:
        raise AssertionError(f"gitea {arguments}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout
