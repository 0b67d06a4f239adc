"""What an operator allows: how limits are said, that the documents list them, and that each is acted on."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from click.testing import CliRunner

from gitops_core.adapters.kustomize import RendererUnavailable
from gitops_core.errors import GitError, StalledError
from gitops_core.meta import FixedTree
from gitops_core.ports import GitRef, Overlay
from gitops_core.runtime.clock import SystemClock
from gitops_core.runtime.policy import Policy
from sealoop.embedded.githttp import create_repository
from sealoop.main import main
from sealoop.serving.limits import apply_limits, list_limits
from sealoop.serving.service import open_git_mirrors, open_ports
from tests.servers.programs import ROOT

DOCUMENT = ROOT / "docs" / "operations.md"
NUMBERS = {"Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30}


def test_the_last_word_on_a_limit_counts_and_the_others_stay() -> None:
    policy = apply_limits(Policy(file_remotes=True), ["builds=3", "build-memory=2Gi", "builds=4"])

    assert policy == Policy(file_remotes=True, builds=4, build_memory=2 << 30)


@pytest.mark.parametrize(
    ("word", "cause"),
    [
        ("speed=3", "there is no limit 'speed', only git-files, "),
        ("file-remotes=1", "there is no limit 'file-remotes'"),
        ("builds", "'' is none"),
        ("builds=0", "'0' is none"),
        ("builds=-1", "'-1' is none"),
        ("builds=1.5", "'1.5' is none"),
        ("build-memory=2GB", "'2GB' is none"),
        ("build-memory=٣", "'٣' is none"),
    ],
)
def test_an_unknown_or_malformed_limit_is_refused_at_once(word: str, cause: str) -> None:
    result = CliRunner().invoke(main, ["run", "--limit", word])

    assert result.exit_code == 2
    assert cause in result.output


def test_the_documents_list_every_limit_with_its_default() -> None:
    table = DOCUMENT.read_text().split("<!-- limits -->\n")[1].splitlines()
    rows = [[cell.strip(" `") for cell in row.strip("|").split("|")] for row in table[2:]]

    defaults = {name: int(text[:-2]) * NUMBERS[text[-2:]] if text[-1] == "i" else int(text) for name, text, _ in rows}

    assert defaults == list_limits(Policy())


def test_no_field_of_the_policy_is_without_a_reader() -> None:
    sources = [
        path
        for name in ("gitops_core", "secrets_sync", "image_updater", "sealoop")
        for path in (ROOT / name).rglob("*.py")
    ]
    text = "".join(path.read_text() for path in sources)
    own = (ROOT / "gitops_core" / "runtime" / "policy.py").read_text()  # what a method of it reads, others call

    unread = [name for name in Policy.__dataclass_fields__ if f"policy.{name}" not in text]
    assert [name for name in unread if f"self.{name}" not in own] == []


async def test_git_keeps_to_the_policy(tmp_path: Path) -> None:
    await create_repository(tmp_path / "served" / "app.git", {"a": b"1", "b": b"22", "c": b"333"})
    url = (tmp_path / "served" / "app.git").as_uri()
    mirrors = open_git_mirrors(tmp_path / "state", Policy(file_remotes=True, git_files=2, git_file_size=2))
    refusing = open_git_mirrors(tmp_path / "other", Policy())
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(mirrors.close)
        remote = mirrors.get_remote(url)
        tree = await remote.fetch_tree(await remote.resolve(GitRef(branch="main")))

        with pytest.raises(GitError, match="more than 2 files"):
            list(tree)
        with pytest.raises(GitError, match="file c has 3 bytes, the limit is 2"):
            tree["c"]
        with pytest.raises(StalledError, match="file:// repositories are not allowed here"):
            refusing.get_remote(url)
    await refusing.close()


async def test_builds_keep_to_the_policy(tmp_path: Path) -> None:
    files = {"kustomization.yaml": b"resources: [a.yaml]", "a.yaml": b"{apiVersion: v1, kind: A, metadata: {name: a}}"}
    async with contextlib.AsyncExitStack() as stack:
        ports = await open_ports(tmp_path, SystemClock(), stack, policy=Policy(build_output=16))

        with pytest.raises(RendererUnavailable, match="printed more than"):
            await ports.renderer.render(FixedTree("x", files), Overlay())
