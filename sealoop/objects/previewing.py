"""What `sealoop plan` does: a Kustomization and a checkout become a list of what would change."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Container, Iterator, Mapping, Sequence
from pathlib import Path

import click
import msgspec

from gitops_core.adapters.kustomize import Kustomize
from gitops_core.adapters.sops import Sops
from gitops_core.api import Kustomization
from gitops_core.commands.plan import SYMBOLS, Planned, plan
from gitops_core.errors import NotFound
from gitops_core.meta import FixedTree, Manifest, ObjectKey, ObjectRef
from gitops_core.ports import Cluster
from gitops_core.reconcilers.building import Builder
from gitops_core.reconcilers.decrypting import Decrypter
from gitops_core.runtime.clock import SystemClock
from gitops_core.schema import read_manifest
from sealoop.checkouts import list_files, read_file
from sealoop.objects.files import collect_manifests
from sealoop.objects.kinds import find_asked, parse_ref
from sealoop.objects.reading import find_source
from sealoop.terminals import make_visible

MOST_FILES, MOST_BYTES = 100_000, 512 << 20
WORDS = {"created": "create", "configured": "change", "replaced": "replace", "deleted": "delete"}


async def preview(
    cluster: Cluster, words: Sequence[str], file: str | None, checkout: str, namespace: str, form: str
) -> int:
    """Print the plan; returns how many objects would change. Raises ClickException, GitOpsError."""
    wanted = await _find_wanted(cluster, words, file, namespace)
    files, ignore = read_checkout(Path(checkout)), await _find_ignore(cluster, wanted)
    renderer = Kustomize()
    builder = Builder(renderer, Decrypter(cluster, renderer, Sops()))
    planned = await plan(wanted, files, cluster, builder, SystemClock(), ignore)
    match form:
        case "json":
            click.echo(json.dumps([make_json(one) for one in planned], indent=2))
        case "markdown":
            click.echo("\n".join(write_markdown(str(wanted.ref), planned)))
        case _:
            click.echo("\n".join(map(make_visible, write_text(planned))))
    return sum(one.is_change for one in planned)


async def _find_wanted(cluster: Cluster, words: Sequence[str], file: str | None, namespace: str) -> Kustomization:
    """Find the Kustomization that is asked for, with the status of the live one, if there is one."""
    if file is None:
        ((served, names),) = await find_asked(cluster, words)
        if (served.kind.group, served.kind.kind) != (Kustomization.KIND.group, Kustomization.KIND.kind) or not names:
            raise click.UsageError("say which Kustomization: ks/NAME, or -f FILE")
        ref = parse_ref(served, namespace, names[0])
        live = await cluster.get(ref)
        if live is None:
            raise NotFound(ref)
        return read_manifest(Kustomization, live)
    found = [manifest for manifest in collect_manifests([file]) if manifest.get("kind") == Kustomization.KIND.kind]
    if len(found) != 1:
        raise click.ClickException(f"{file} holds {len(found) or 'no'} Kustomizations, where one is expected")
    metadata = {"namespace": namespace, **found[0]["metadata"]}
    ref = ObjectRef(Kustomization.KIND, ObjectKey(metadata["namespace"], metadata["name"]))
    live = await cluster.get(ref)
    about: Manifest = {"metadata": metadata, "status": {}} if live is None else live
    whole = {**found[0], "metadata": {**about["metadata"], **metadata}, "status": about.get("status") or {}}
    try:
        return read_manifest(Kustomization, whole)
    except msgspec.ValidationError as error:
        raise click.ClickException(f"{file}: {error}") from None


async def _find_ignore(cluster: Cluster, wanted: Kustomization) -> str | None:
    """Find the ignore rules of its source, where that is there."""
    named = msgspec.to_builtins(wanted.spec.source_ref)
    ref = await find_source(cluster, named, wanted.metadata.namespace)
    source = await cluster.get(ref) if ref is not None else None
    return None if source is None else source["spec"].get("ignore")


def read_checkout(folder: Path) -> FixedTree:
    """Read the files of a checkout, without .git and without links. Raises ClickException."""
    if not folder.is_dir():
        raise click.ClickException(f"{folder} is no folder: --checkout DIR")
    files: dict[str, bytes] = {}
    size = 0
    try:
        for path in list_files(str(folder)):
            data = read_file(f"{folder}/{path}", MOST_BYTES + 1 - size)
            if data is None:
                continue
            size += len(data)
            files[path] = data
            if len(files) > MOST_FILES or size > MOST_BYTES:
                raise click.ClickException(f"{folder} holds more than {MOST_FILES} files or {MOST_BYTES >> 20} MiB")
    except OSError as error:
        raise click.ClickException(f"{error.filename or folder} cannot be read: {error.strerror}") from None
    return FixedTree("checkout", files)


def write_text(planned: Sequence[Planned], drift: Container[ObjectRef] = ()) -> Iterator[str]:
    """Write what would change, a line for each object and each of its fields, and a sum.

    Args:
        drift: the objects that are not as they were applied.
    """
    for one in planned:
        if one.is_change:
            yield f"{SYMBOLS[one.change]} {_write_change(one, drift)}"
            yield from (f"    {difference}" for difference in one.differences)
    yield _write_sum(planned)


def write_markdown(
    title: str, planned: Sequence[Planned], drift: Container[ObjectRef] = (), about: Sequence[str] = ()
) -> Iterator[str]:
    """Write the same for a comment on a pull request, with what else is to be known about it."""
    yield f"### {title}"
    yield ""
    for line in about:
        yield from (f"    {line}", "")  # code, whatever it quotes
    yield _write_sum(planned)
    changes = [one for one in planned if one.is_change]
    if changes:
        yield ""
        yield "```diff"
        for one in changes:
            symbol = SYMBOLS[one.change]
            yield f"{symbol if symbol in '+-' else '!'} {_fence(_write_change(one, drift))}"
            yield from (f"    {_fence(str(difference))}" for difference in one.differences)
        yield "```"


def _write_change(one: Planned, drift: Container[ObjectRef]) -> str:
    return f"{one.ref} {one.change}{' (drift)' if one.ref in drift else ''}"


def _fence(text: str) -> str:
    """Write one line that cannot end the block it stands in."""
    return make_visible(text).replace("`", "'")


def _write_sum(planned: Sequence[Planned]) -> str:
    counted = Counter(one.change for one in planned)
    parts = [f"{counted[change]} to {word}" for change, word in WORDS.items() if counted[change]]
    rest = sum(number for change, number in counted.items() if change not in WORDS)
    return f"Plan: {', '.join(parts) or 'nothing to do'}, {rest} unchanged."


def make_json(one: Planned) -> Mapping[str, object]:
    fields = [difference._asdict() for difference in one.differences]
    return {"object": str(one.ref), "change": one.change, "fields": fields}
