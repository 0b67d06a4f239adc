"""What `sealoop diff` does: each Kustomization that is asked for, beside what its source fetched.

A few are compared at the same time and printed in order; one that cannot be compared keeps no other from being shown.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import click
import msgspec

from gitops_core.adapters.kubernetes import KubernetesClusters
from gitops_core.api import Kustomization
from gitops_core.commands.diff import Comparison, Differ
from gitops_core.component import make_sources
from gitops_core.errors import GitOpsError, NotFound
from gitops_core.meta import Manifest, ObjectRef
from gitops_core.ports import Cluster, Query, Remotes
from gitops_core.reconcilers.building import Builder
from gitops_core.reconcilers.decrypting import Decrypter
from gitops_core.reconcilers.folders import Folders
from gitops_core.reconcilers.keyservices import KeyServices
from gitops_core.reconcilers.remoteclusters import RemoteClusters
from gitops_core.reconcilers.targets import Targets
from gitops_core.runtime.policy import Policy
from gitops_core.runtime.sharing.computing import IN_PLACE
from gitops_core.schema import read_manifest
from sealoop.objects.kinds import find_asked, parse_ref
from sealoop.objects.previewing import make_json, write_markdown, write_text
from sealoop.objects.showing import list_all
from sealoop.serving.looking import open_platform
from sealoop.terminals import make_visible

AT_ONCE = 4


class Asking(NamedTuple):
    """How to ask, and how to show: text, json or markdown."""

    namespace: str
    all_namespaces: bool = False
    output: str = "text"


@dataclass(frozen=True)
class Report:
    """What came of one Kustomization: a comparison, or why there is none."""

    ref: ObjectRef
    comparison: Comparison | None = None
    trouble: str = ""


async def show_differences(differ: Differ, words: Sequence[str], how: Asking) -> tuple[int, int]:
    """Print what would change; returns how many objects would, and how many Kustomizations were not compared."""
    asked = await _find_asked(differ.cluster, words, how)
    if not asked:
        where = "" if how.all_namespaces else f" in {how.namespace} namespace"
        click.echo(f"No Kustomizations found{where}.", err=True)
    reports = await _show_each(differ, asked, how.output)
    if how.output == "json":
        click.echo(json.dumps([_make_json(report) for report in reports], indent=2))
    compared = [report.comparison for report in reports if report.comparison is not None]
    return sum(one.is_change for each in compared for one in each.planned), len(reports) - len(compared)


@asynccontextmanager
async def open_differ(
    cluster: Cluster, *, is_local: bool, impersonates: bool = False, is_abroad: bool = False
) -> AsyncIterator[Differ]:
    """Yield what compares; what it fetches is gone at the end.

    Args:
        is_local: it is the embedded cluster, whose repositories may be files of this machine.
        impersonates: ask with the rights of spec.serviceAccountName.
        is_abroad: ask the clusters of spec.kubeConfig, too.
    """
    async with open_platform(cluster, Policy(file_remotes=is_local)) as (platform, ports):
        sources = make_sources(platform, Remotes(ports.artifacts, ports.logins, ports.buckets, ports.clouds))
        remotes = RemoteClusters(platform.cluster, ports.clouds, platform.policy)
        clusters = KubernetesClusters(cluster, IN_PLACE)
        targets = Targets(platform.cluster, clusters, platform.clock, platform.policy, remotes)
        services = KeyServices(platform.cluster, ports.clouds)
        decrypter = Decrypter(platform.cluster, ports.renderer, ports.decryptor, platform.compute, services=services)
        builder, folders = Builder(ports.renderer, decrypter), Folders(sources.get_kinds(), platform.compute)
        yield Differ(platform, cluster, folders, builder, targets, impersonates, is_abroad)


async def _find_asked(cluster: Cluster, words: Sequence[str], how: Asking) -> list[tuple[ObjectRef, Manifest | None]]:
    """Find the Kustomizations that are asked for; None where one of that name is not there."""
    found: list[tuple[ObjectRef, Manifest | None]] = []
    for served, names in await find_asked(cluster, complete(words)):
        if served.kind[::2] != Kustomization.KIND[::2]:
            raise click.UsageError(f"a diff is one of Kustomizations, and not of a {served.kind.kind}")
        if names and how.all_namespaces:
            raise click.UsageError("an object cannot be named across all namespaces: leave out its name, or -A")
        for name in names:
            ref = parse_ref(served, how.namespace, name)
            found.append((ref, await cluster.get(ref)))
        if not names:
            query = Query(served.kind, "" if how.all_namespaces else how.namespace)
            found += [(ObjectRef.of(live), live) for live in (await list_all(cluster, query))[0]]
    return found


def complete(words: Sequence[str]) -> Sequence[str]:
    """Return the words with the kind that they need not say.

    >>> complete([]), complete(["app", "web"]), complete(["ks", "app"]), complete(["ks/app"])
    (['ks'], ['ks', 'app', 'web'], ['ks', 'app'], ['ks/app'])
    """
    kind = Kustomization
    named = {kind.PLURAL, kind.KIND.kind.lower(), *kind.SHORT_NAMES}
    if words and ("/" in "".join(words) or words[0].lower().partition(".")[0] in named):
        return words
    return [kind.SHORT_NAMES[0], *words]


async def _show_each(differ: Differ, asked: Sequence[tuple[ObjectRef, Manifest | None]], output: str) -> list[Report]:
    """Compare each, and show it for people when it is its turn."""
    slots = asyncio.Semaphore(AT_ONCE)

    async def compare(ref: ObjectRef, live: Manifest | None) -> Report:
        async with slots:
            return await _compare(differ, ref, live)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(compare(*one)) for one in asked]
        is_first = True
        for task in tasks:
            is_first = not _show(await task, output, is_first=is_first) and is_first
    return [task.result() for task in tasks]


async def _compare(differ: Differ, ref: ObjectRef, live: Manifest | None) -> Report:
    try:
        if live is None:
            raise NotFound(ref)
        return Report(ref, await differ.compare(read_manifest(Kustomization, live)))
    except GitOpsError as error:
        return Report(ref, trouble=str(error))
    except msgspec.ValidationError as error:
        return Report(ref, trouble=f"it cannot be read: {error}")


def _show(report: Report, output: str, *, is_first: bool) -> bool:
    """Print a report for people, apart from those before it; returns whether there was anything to print."""
    if report.trouble:
        text = make_visible(report.trouble)
        click.echo(f"Error: {text if str(report.ref) in text else f'{report.ref}: {text}'}", err=True)
    lines = {"text": _write_text, "markdown": _write_markdown}.get(output, lambda _: iter(()))(report)
    if text := "\n".join(lines):
        click.echo(text if is_first else f"\n{text}")
    return bool(text)


def _write_text(report: Report) -> Iterator[str]:
    if (found := report.comparison) is None:
        return
    yield make_visible(f"{report.ref} at {found.revision} ({_tell_applied(found)})")
    yield from (make_visible(f"  {note}") for note in found.notes)
    yield from map(make_visible, write_text(found.planned, found.drift))


def _write_markdown(report: Report) -> Iterator[str]:
    if (found := report.comparison) is None:
        yield f"### {report.ref}"
        yield ""
        yield from (f"    {make_visible(line)}" for line in report.trouble.splitlines())  # code, whatever it quotes
        return
    about = (f"Files: {found.revision} ({_tell_applied(found)})", *found.notes)
    yield from write_markdown(str(report.ref), found.planned, found.drift, [make_visible(one) for one in about])


def _tell_applied(found: Comparison) -> str:
    if found.applied == found.revision:
        return "applied"
    return f"applied: {found.applied}" if found.applied else "nothing applied yet"


def _make_json(report: Report) -> Mapping[str, Any]:
    if (found := report.comparison) is None:
        return {"kustomization": str(report.ref), "error": report.trouble}
    objects = [{**make_json(one), "drift": one.ref in found.drift} for one in found.planned]
    about = {"kustomization": str(report.ref), "revision": found.revision, "applied": found.applied}
    return {**about, "notes": list(found.notes), "objects": objects}
