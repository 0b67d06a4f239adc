"""Files of a checkout on a disk, whatever else stands there."""

from __future__ import annotations

import os
from pathlib import Path

import click
import pytest

from sealoop.checkouts import list_files, read_file
from sealoop.objects.previewing import read_checkout


def test_files_are_listed_without_links_pipes_and_what_git_keeps(tmp_path: Path) -> None:
    for path in ("b/c.yaml", "a.yaml", "b/.git/config", "sub/x.yaml"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("x")
    (tmp_path / "sub" / ".git").write_text("gitdir: ../.git/modules/sub")
    (tmp_path / "link.yaml").symlink_to("a.yaml")
    (tmp_path / "folder").symlink_to("b")
    os.mkfifo(tmp_path / "pipe.yaml")

    assert list(list_files(str(tmp_path))) == ["a.yaml", "b/c.yaml", "sub/x.yaml"]


def test_a_pipe_or_a_link_is_not_read_even_where_it_is_named(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").write_text("x")
    (tmp_path / "link").symlink_to("file")

    assert read_file(str(tmp_path / "pipe")) is None
    assert read_file(str(tmp_path / "link")) is None
    assert read_file(str(tmp_path / "file")) == b"x"


def test_a_folder_that_is_too_deep_to_be_read_is_told_in_one_line(tmp_path: Path) -> None:
    here = os.open(tmp_path, os.O_RDONLY)
    for _ in range(30):
        os.mkdir("d" * 200, dir_fd=here)
        below = os.open("d" * 200, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)

    with pytest.raises(click.ClickException, match=r"cannot be read: File name too long"):
        read_checkout(tmp_path)
