"""`sealoop images edit`: marked values of a folder's files set by hand, without a cluster, a registry or Git.

    read what holds a marker or is a target  ->  plan  ->  print the diff, or write file by file

A file is replaced in one step and keeps its mode. Symbolic links are neither followed nor replaced, and
`.git` is not entered.
"""

from __future__ import annotations

import contextlib
import difflib
import os
import re
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sealoop.checkouts import list_files

if TYPE_CHECKING:
    from image_updater.domain.files.sightings import CommitPlan
    from image_updater.domain.files.targets import DeclaredTarget

MOST_BYTES = 33 << 20
"""Of a larger file only so much is read, which is more than any file that is edited may have."""

WOULD_CHANGE = 3
"""An exit code of its own: a pipeline must not take a mistyped option, which is 2, for a change."""


@click.command(
    epilog="""\b
Examples:
  sealoop images edit --set shop:web=ghcr.io/org/web:1.4.0 fleet/
  sealoop images edit --set shop:web=ghcr.io/org/web:1.4.0 --dry-run . | git apply --check
\b
Exit codes: 0 done, or nothing to do; 1 something failed; 2 the command line makes no sense; 3 --dry-run, and
something would change."""
)
@click.option(
    "--set",
    "images",
    multiple=True,
    metavar="NAMESPACE:NAME=IMAGE:TAG[@DIGEST]",
    help="Set this image. Say it again for others.",
)
@click.option(
    "-f", "--targets", "guards", multiple=True, metavar="FILE", help="Set the targets of these UpdateGuards, too."
)
@click.option("--dry-run", is_flag=True, help="Print the difference; write nothing.")
@click.option(
    "-o", "--output", type=click.Choice(["diff", "json"]), help="Print the difference, or the inventory as JSON."
)
@click.argument("path", type=click.Path(path_type=Path))
def edit(images: tuple[str, ...], guards: tuple[str, ...], dry_run: bool, output: str | None, path: Path) -> None:
    """Set the marked values below PATH.

    Says what an ImageUpdateAutomation would commit if the policy NAMESPACE/NAME had chosen that image: only the marked
    values' bytes change. What could not be set is told on standard error.
    """
    from image_updater.domain.files.plan import plan_commit

    values = list_values(images)
    targets = read_targets(guards)
    try:
        files = find_files(path, targets)
        plan = plan_commit(files, values, targets=targets)
        if not dry_run:
            for name, content in plan.edits.items():
                replace_file(_place(path, name), files[name], content)
    except OSError as error:
        raise click.ClickException(f"{error.filename or path}: {(error.strerror or str(error)).lower()}") from None
    if output == "json":
        click.echo(write_inventory(plan, written=not dry_run))
    elif dry_run or output == "diff":
        for name, content in plan.edits.items():
            click.echo(write_difference(name, files[name], content), nl=False)
    click.echo(write_summary(plan, written=not dry_run), err=True)
    raise SystemExit(WOULD_CHANGE if dry_run and plan.edits else 0)


_SET = re.compile(r"(?P<namespace>[^:=/\s]+):(?P<name>[^:=/\s]+)=(?P<image>\S+)")


def list_values(images: Sequence[str]) -> dict[str, str]:
    """Return the value of each setter.

    >>> list_values(["shop:web=localhost:5000/web:1.0"])["shop:web:name"]
    'localhost:5000/web'

    Raises:
        ClickException.
    """
    from gitops_core.errors import ImageInvalid
    from gitops_core.oci.references import parse_image
    from image_updater.api import ImageRef
    from image_updater.domain.files.plan import resolve_setters

    if not images:
        raise click.ClickException("say what to set: --set NAMESPACE:NAME=IMAGE:TAG")
    values: dict[str, str] = {}
    for text in images:
        match = _SET.fullmatch(text)
        if match is None:
            raise click.ClickException(f"--set {text} is not of the form NAMESPACE:NAME=IMAGE:TAG[@DIGEST]")
        try:
            parse_image(match["image"])
        except ImageInvalid as error:
            raise click.ClickException(f"--set {text}: {error}") from None
        base, _, digest = match["image"].partition("@")
        name, _, tag = base.rpartition(":")
        if not name or "/" in tag:
            raise click.ClickException(f"--set {text} names no tag: IMAGE:TAG")
        ref = ImageRef(name=name, tag=tag, digest=digest)
        new = resolve_setters(match["namespace"], {match["name"]: ref})
        if any(values.get(setter, value) != value for setter, value in new.items()):
            raise click.ClickException(f"--set {match['namespace']}:{match['name']} is there twice with two images")
        values |= new
    return values


def read_targets(guards: Sequence[str]) -> tuple[DeclaredTarget, ...]:
    """Read the targets of the UpdateGuards in these files. Raises ClickException."""
    if not guards:
        return ()
    import msgspec

    from gitops_core.decoding import convert
    from image_updater.api import UpdateGuard
    from image_updater.domain.files.targets import DeclaredTarget
    from sealoop.objects.files import collect_manifests

    found: list[DeclaredTarget] = []
    for manifest in collect_manifests(guards):
        if manifest.get("kind") != UpdateGuard.KIND.kind:
            continue
        try:
            guard = convert(manifest, UpdateGuard)
        except msgspec.ValidationError as error:
            name = manifest.get("metadata", {}).get("name", "")
            raise click.ClickException(f"UpdateGuard {name} is not valid: {error}") from None
        if guard.spec.suspend:
            continue
        namespace = guard.metadata.namespace or "default"
        found += (DeclaredTarget(namespace, target) for target in guard.spec.targets)
    return tuple(found)


def is_marked(name: str, content: bytes) -> bool:
    """Tell whether a file holds what every marker holds."""
    from image_updater.domain.files.markers import SCREEN

    return SCREEN.encode() in content


def find_files(
    path: Path, targets: Iterable[DeclaredTarget], screen: Callable[[str, bytes], bool] = is_marked
) -> dict[str, bytes]:
    """Read the files below `path` (or the file `path`) that the screen lets through or that are targets, by path below
    it.

    Raises:
        OSError.
    """
    from image_updater.domain.files.targets import select_targeted

    names = [path.name] if path.is_file() else sorted(list_files(str(path)))
    aimed = set(select_targeted(names, targets))
    found: dict[str, bytes] = {}
    for name in names:
        with _place(path, name).open("rb") as file:
            content = file.read(MOST_BYTES)
        if name in aimed or screen(name, content):
            found[name] = content
    return found


def _place(path: Path, name: str) -> Path:
    return path if path.is_file() else path / name


def replace_file(file: Path, before: bytes, after: bytes) -> None:
    """Write a file in one step, with the mode it has.

    Raises:
        ClickException: it is not what it was when it was read.
        OSError.
    """
    descriptor, name = tempfile.mkstemp(prefix=".sealoop-", dir=file.parent)
    try:
        with open(descriptor, "wb") as new:
            new.write(after)
            os.fchmod(new.fileno(), file.stat().st_mode & 0o7777)
        if file.read_bytes() != before:
            raise click.ClickException(f"{file} changed while it was edited: try again")  # noqa: TRY301  # cleaned up
        Path(name).replace(file)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(name).unlink()
        raise


_LINES = re.compile(rb"[^\n]*\n|[^\n]+")


def write_difference(name: str, before: bytes, after: bytes) -> bytes:
    """Write a difference that `git apply` takes.

    >>> write_difference("a", b"x\\n1", b"x\\n2").splitlines()[-4:]
    [b'-1', b'\\\\ No newline at end of file', b'+2', b'\\\\ No newline at end of file']
    """
    path = os.fsencode(name)
    old, new = _LINES.findall(before), _LINES.findall(after)
    lines = difflib.diff_bytes(difflib.unified_diff, old, new, b"a/" + path, b"b/" + path)
    return b"".join(line if line.endswith(b"\n") else line + b"\n\\ No newline at end of file\n" for line in lines)


def write_inventory(plan: CommitPlan, *, written: bool) -> str:
    """Write what changed and every place that was seen, as JSON."""
    import msgspec

    from image_updater.domain.files.inventory import make_printable, mark_applied

    changes = [{"file": c.file, "setter": c.setter, "old": c.old, "new": c.new} for c in plan.changes]
    seen = mark_applied(plan.sightings) if written else plan.sightings
    whole: Mapping[str, Any] = {
        "changes": changes,
        "inventory": [make_printable(each)._asdict() for each in seen],
    }
    return msgspec.json.format(msgspec.json.encode(whole), indent=2).decode()


def write_summary(plan: CommitPlan, *, written: bool) -> str:
    """Write how many places are in which state, and each that a person should look at."""
    from image_updater.domain.files.inventory import describe_place, make_printable, select_noteworthy

    changed = len(plan.changes)
    values, files = "value" if changed == 1 else "values", "file" if len(plan.edits) == 1 else "files"
    done = f"{changed} {values} in {len(plan.edits)} {files} {'set' if written else 'would be set'}"
    counts = Counter(s.state for s in plan.sightings if s.state != "pending")
    last = ", ".join([done, *(f"{n} {state}" for state, n in sorted(counts.items()))])
    return "\n".join([*map(describe_place, map(make_printable, select_noteworthy(plan.sightings))), last])
