"""`sealoop images pick`: what a policy chooses of tags that are given, without a cluster.

A parser around domain.tags.answers: it has no rule of its own but its exit code.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import click
import msgspec
import yaml

from gitops_core.schema import read_manifest
from image_updater.api import ImagePolicy
from image_updater.domain.tags.answers import INVALID, Answer, answer_line, choose

LONGEST_LINE = 64 << 20
"""Bytes; 10 MiB of tags and more fit in."""


@click.command(
    epilog="""\b
Examples:
  sealoop images pick -f policy.yaml 1.0.0 1.1.0 latest
  crane ls ghcr.io/org/app | sealoop images pick -f policy.yaml
  sealoop images pick --batch < questions.jsonl
\b
Exit codes: 0 a tag was chosen (--batch: every line was answered), 1 none qualifies, 2 wrong usage."""
)
@click.argument("tags", nargs=-1)
@click.option(
    "-f",
    "--filename",
    type=click.Path(path_type=Path),
    metavar="POLICY.yaml",
    help="Read the policy from this file; - is standard input.",
)
@click.option("--name", default="", metavar="NAME", help="Take this ImagePolicy, where the file has several.")
@click.option(
    "--batch", is_flag=True, help="Answer each line {tags, policy, filterTags} with a line {tag} or {reason, message}."
)
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
def pick(tags: Sequence[str], filename: Path | None, name: str, batch: bool, output: str) -> None:
    """Choose from TAGS (default: standard input, one a line) what an ImagePolicy would; no guard is asked."""
    if batch:
        if filename is not None or tags:
            raise click.UsageError("--batch takes everything from standard input")
        _answer_all(sys.stdin.buffer, sys.stdout.buffer)
        return
    if filename is None:
        raise click.UsageError("name the ImagePolicy's file with -f, or use --batch")
    if not tags and str(filename) == "-":
        raise click.UsageError("standard input is the policy's: give the tags as arguments")
    given = tuple(tags) or tuple(line for line in (text.strip() for text in sys.stdin) if line)
    found = choose(read_policy(filename, name), given)
    _print(found, output)
    if not found.tag:
        sys.exit(1)


def _print(found: Answer, output: str) -> None:
    if output == "json":
        click.echo(msgspec.json.encode(found))
    elif found.tag:
        click.echo(found.tag)
    else:
        click.echo(f"{found.reason}: {found.message}", err=True)


def _answer_all(questions: BinaryIO, answers: BinaryIO) -> None:
    for line in _read_lines(questions):
        if line is None:
            text = f"a line is longer than {LONGEST_LINE} bytes"
            answers.write(msgspec.json.encode(Answer(reason=INVALID, message=text)) + b"\n")
        else:
            answers.write(answer_line(line) + b"\n")
        answers.flush()  # who asks may wait for each answer


def _read_lines(questions: BinaryIO) -> Iterator[bytes | None]:
    """Yield the lines; None for one that is too long."""
    while line := questions.readline(LONGEST_LINE + 1):
        if len(line) <= LONGEST_LINE or line.endswith(b"\n"):
            yield line
            continue
        while line and not line.endswith(b"\n"):
            line = questions.readline(LONGEST_LINE)
        yield None


def read_policy(path: Path, name: str) -> ImagePolicy:
    """Read the ImagePolicy from a file. Raises ClickException: the file has no such ImagePolicy, or several."""
    try:
        text = sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()
        documents = list(yaml.load_all(text, yaml.CSafeLoader))
    except OSError as error:
        raise click.ClickException(f"{path}: {error.strerror}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise click.ClickException(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    found = [each for each in documents if isinstance(each, dict) and each.get("kind") == ImagePolicy.KIND.kind]
    found = [each for each in found if not name or (each.get("metadata") or {}).get("name") == name]
    if len(found) != 1:
        wanted = f"ImagePolicy {name!r}" if name else "ImagePolicy"
        raise click.ClickException(f"{path} holds {len(found) or 'no'} {wanted}" + ("; say --name" if found else ""))
    try:
        return read_manifest(ImagePolicy, found[0])
    except (msgspec.ValidationError, TypeError) as error:
        raise click.ClickException(f"{path}: {error}") from None
