"""Implements Renderer: plain manifests without a subprocess, everything else with the kustomize program.

A build runs on the files it uses and no others, found in the repository and written anew by us (render/folders.py), and
always with kustomize's own restrictions; no plugins, no helm, no git. The program can open nothing else and reach
nothing (sandbox.py). One build serves every prefix, suffix and namespace where that is the same (render/sharing.py).
What was built is kept by content: the folder's Git object id and the overlay; so what did not change is not built
again, and not even read.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import posixpath
import secrets
import shutil
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from gitops_core.adapters.sandbox import (
    DEFAULT_LIMITS,
    Confinement,
    Finished,
    Limits,
    OutOfTime,
    Sandboxed,
    TooMuchOutput,
)
from gitops_core.domain.render import folders, sharing
from gitops_core.domain.render.kustomizations import write_json, write_texts
from gitops_core.domain.render.manifests import read_manifests, read_output
from gitops_core.domain.render.muting import mute_secrets
from gitops_core.domain.render.sharing import Affixes
from gitops_core.domain.render.written import Written, estimate_reading, read_written, write_manifests
from gitops_core.errors import ManifestInvalid, PathNotFound, TransientError
from gitops_core.meta import Manifest, Tree
from gitops_core.ports import Compute, Overlay, UsedFiles
from gitops_core.recent import Recent
from gitops_core.runtime.sharing.computing import IN_PLACE, READING, get_namespace_at_work
from gitops_core.runtime.sharing.flights import Flights
from gitops_core.runtime.sharing.slots import Slots

Key = tuple[object, ...]
Fields = tuple[tuple[str, Any], ...]

KEPT_RESULTS = 128 * 2**20
KEPT_SOURCES = 64 * 2**20
KEPT_KEYS = 16 * 2**20
KEY_WEIGHT = 512
OBJECT_WEIGHT = 64
MAX_SOURCES = 64 * 2**20
HOW_TO_GET = (
    "the kustomize program is missing: put it on PATH or name it in the setting kustomize "
    "(https://kubectl.docs.kubernetes.io/installation/kustomize; `make tools` builds it into .tools/bin)"
)

_IN_ORDER = ("--reorder", "none")
_NOWHERE = "http://127.0.0.1:9"
_ENVIRONMENT = {
    "PATH": "",
    "HTTP_PROXY": _NOWHERE,
    "HTTPS_PROXY": _NOWHERE,
    "GOTRACEBACK": "none",
}
"""No credentials, no program to call, a proxy that does not answer; where it panics, it says why and not where."""


class RendererUnavailable(TransientError):
    """The kustomize program is missing, hangs, or needs too much."""

    reason = "BuildFailed"


@dataclass(frozen=True)
class _Sources:
    """What a build is made from, but for the prefix, suffix and namespace.

    Attributes:
        document: the kustomization of the folder, with the overlay's fields, as kustomize gets it.
        files: every other file that kustomize gets, by the path below the build.
        build: what names of ours stand for.
        digest: of all that; equal digests build the same.
    """

    document: Mapping[str, object]
    files: Mapping[str, bytes]
    build: folders.Build
    digest: bytes

    @property
    def weight(self) -> int:
        return sum(map(len, self.files.values()))

    @property
    def top(self) -> str:
        """The folder to build, below the build."""
        return self.build.name(self.build.folders[0])


@dataclass(frozen=True)
class _Shared:
    """A build with stand-ins: the result as JSON."""

    result: bytes
    stood_in: Affixes


class Kustomize:
    """Implements Renderer."""

    def __init__(
        self,
        program: str = "",
        *,
        limits: Limits = DEFAULT_LIMITS,
        builds: int = 2,
        confinement: Confinement | None = None,
        compute: Compute = IN_PLACE,
        count: Callable[[], object] = bool,
    ) -> None:
        """
        Args:
            program: the kustomize binary; "" looks on PATH and in .tools/bin of the working directory.
            limits: what one build may take.
            builds: how many run at the same time, shared by namespace.
            confinement: what builds are kept from; None for all that this machine can.
            compute: where files are read, decoded and compared.
            count: called for every folder of which nothing is kept yet, at this content.
        """
        self._compute, self._count = compute, count
        self._program = program
        self._limits = limits
        self._environment = _ENVIRONMENT | {"GOMEMLIMIT": f"{limits.memory * 3 >> 22}MiB"}
        self._confinement = confinement or Confinement.of_this_machine()
        self._token = f"zq{secrets.token_hex(8)}"
        self._slots = Slots(builds, "builds")
        self._contents: Recent[Key, Key] = Recent(KEPT_KEYS)  # what a folder of a tree stands for, of `_results`
        self._results: Recent[Key, Written] = Recent(KEPT_RESULTS)
        self._sources: Recent[Key, _Sources] = Recent(KEPT_SOURCES)
        self._shared: Recent[Key, _Shared] = Recent(KEPT_SOURCES)
        self._under_way: Flights[_Shared] = Flights()

    async def render(self, tree: Tree, overlay: Overlay, path: str = "") -> tuple[Manifest, ...]:
        path = path.strip("/")
        if tree.is_private:
            return await self._render_privately(tree, overlay, path)
        fields = msgspec.json.encode((overlay.fields, overlay.optional_components))
        key = (tree.oid, path, overlay.namespace, overlay.name_prefix, overlay.name_suffix, fields)
        contents = self._contents.get(key)
        kept = self._results.get(contents) if contents else None
        if kept is not None:
            return await self._decode(kept)
        contents, rendered = await self._render(tree, overlay, path, key)
        self._contents.put(key, contents, KEY_WEIGHT + len(path) + len(fields))
        return rendered

    async def _render_privately(self, tree: Tree, overlay: Overlay, path: str) -> tuple[Manifest, ...]:
        """Return the objects, of which nothing is kept here."""
        self._count()
        affixes = Affixes(overlay.name_prefix, overlay.name_suffix, overlay.namespace)
        gathered = await self._compute.run(READING, _gather, tree, overlay, path, affixes, self._token, None)
        if not isinstance(gathered, _Sources):
            return gathered
        output = await self._build(gathered, path, affixes, is_secret=True)
        return await self._compute.run(len(output), _read, output, gathered.build)

    async def find_files(self, tree: Tree, overlay: Overlay, path: str = "") -> UsedFiles:
        return await self._compute.run(READING, _find_files, tree, overlay, path.strip("/"), self._token)

    async def _render(self, tree: Tree, overlay: Overlay, path: str, key: Key) -> tuple[Key, tuple[Manifest, ...]]:
        """Return the objects, and the key of `_results` under which they are kept: `key` if they depend on it."""
        affixes = Affixes(overlay.name_prefix, overlay.name_suffix, overlay.namespace)
        asked = (tree.oid, path, msgspec.json.encode((overlay.fields, overlay.optional_components)))
        known = self._sources.get(asked)
        gathered = await self._compute.run(READING, _gather, tree, overlay, path, affixes, self._token, known)
        if not isinstance(gathered, _Sources):
            return key, await self._keep(key, gathered)
        if gathered is not known:
            self._sources.put(asked, gathered, KEY_WEIGHT + gathered.weight)
        contents = ("contents", path, gathered.digest, affixes)
        if (kept := self._results.get(contents)) is not None:
            return contents, await self._decode(kept)
        return contents, await self._keep(contents, await self._make(gathered, path, affixes))

    async def _keep(self, key: Key, made: tuple[Manifest, ...]) -> tuple[Manifest, ...]:
        self._count()
        written = await self._compute.run(READING, write_manifests, made)
        self._results.put(key, written, sum(map(len, written)) + OBJECT_WEIGHT * len(written) + KEY_WEIGHT)
        return made

    async def _decode(self, kept: Written) -> tuple[Manifest, ...]:
        return await self._compute.run(estimate_reading(kept), read_written, kept)

    async def _make(self, sources: _Sources, path: str, affixes: Affixes) -> tuple[Manifest, ...]:
        """Make the objects from the shared build where that serves, else by a build of their own."""
        if sharing.may_share(sources.build.fields, affixes):
            shared = await self._build_shared(sources, path, affixes)
            if (found := await self._compute.run(sources.weight, _take_shared, shared, sources, affixes)) is not None:
                return found
        output = await self._build(sources, path, affixes)
        return await self._compute.run(len(output), _read, output, sources.build)

    async def _build_shared(self, sources: _Sources, path: str, affixes: Affixes) -> _Shared:
        key = (sources.digest, path, tuple(map(bool, affixes)))
        if (shared := self._shared.get(key)) is None:
            shared = await self._under_way.join(key, lambda: self._build_with_stand_ins(sources, path, affixes))
            self._shared.put(key, shared, KEY_WEIGHT + len(shared.result))
        return shared

    async def _build_with_stand_ins(self, sources: _Sources, path: str, affixes: Affixes) -> _Shared:
        stood_in = sharing.make_stand_ins(affixes, secrets.token_hex(8))
        output = await self._build(sources, path, stood_in)
        return await self._compute.run(len(output), _get_shared, output, stood_in, sources.build)

    async def _build(self, sources: _Sources, path: str, affixes: Affixes, *, is_secret: bool = False) -> bytes:
        text = await self._compute.run(READING, _write_top, sources, affixes)
        program = Sandboxed(
            (self._locate(), "build", sources.top, "--load-restrictor", "LoadRestrictionsRootOnly", *_IN_ORDER),
            {**sources.files, os.path.join(sources.top, folders.NAMES[0]): text},
            self._environment,
            self._limits,
            self._confinement,
            is_secret=is_secret,
        )
        async with self._slots.taken(get_namespace_at_work()):
            try:
                finished = await program.run_beside()
            except OSError as error:
                raise RendererUnavailable(f"cannot run {self._program or 'kustomize'}: {error.strerror}") from None
            except OutOfTime:
                limit = f"{self._limits.seconds:g}s"
                raise RendererUnavailable(f"kustomize build of {path or '.'} took longer than {limit}") from None
            except TooMuchOutput:
                limit = f"{self._limits.output >> 20} MiB"
                raise RendererUnavailable(f"kustomize build of {path or '.'} printed more than {limit}") from None
        if finished.status != 0:
            raise await asyncio.to_thread(self._make_failure, finished, sources, path)  # it reads all files
        return finished.output

    def _make_failure(self, finished: Finished, sources: _Sources, path: str) -> ManifestInvalid | RendererUnavailable:
        lines = finished.messages.decode("utf-8", "replace").strip().splitlines()
        if finished.status < 0 or any("out of memory" in line or "cannot allocate memory" in line for line in lines):
            limits = f"{self._limits.memory >> 20} MiB of memory or {self._limits.seconds:g}s of a processor"
            return RendererUnavailable(f"kustomize build of {path or '.'} was ended: it needs more than {limits}")
        message = "\n".join(line for line in lines if not line.startswith("Flag --reorder")).removeprefix("Error: ")
        muted = mute_secrets(sources.build.translate_names(message), sources.build, sources.files)
        printable = muted.encode("utf-8", "replace").decode()  # names in Git need not be text
        return ManifestInvalid(f"kustomize build failed: {printable[:2000]}")

    def _locate(self) -> str:
        program = self._program or shutil.which("kustomize") or shutil.which("kustomize", path=".tools/bin")
        if program is None:
            raise RendererUnavailable(HOW_TO_GET)
        return os.path.abspath(program)


def _find_files(tree: Tree, overlay: Overlay, path: str, token: str) -> UsedFiles:
    fields, prefix = _list_fields(tree, overlay, path), f"{path}/" if path else ""
    below = {name.removeprefix(prefix) for name in tree if name.startswith(prefix)}
    if folders.is_plain(below) and not fields:
        return UsedFiles(tuple(prefix + name for name in _list_manifests(below, path)))
    document = sharing.merge_overlay(_read_document(tree, path), Affixes("", "", ""), fields)
    build = folders.gather_build(tree, path, document, token)
    generators = [item for one in build.documents.values() for item in one.get("secretGenerator") or ()]
    own = (name for folder in build.folders if (name := folders.find_kustomization(tree, folder)) is not None)
    return UsedFiles(
        tuple(sorted({*own, *build.copied.values(), *build.places} & set(tree))),
        frozenset(build.shown),
        frozenset(build.stored),
        any(isinstance(item, dict) and bool(item.get("literals")) for item in generators),
    )


def _gather(
    tree: Tree, overlay: Overlay, path: str, affixes: Affixes, token: str, known: _Sources | None
) -> _Sources | tuple[Manifest, ...]:
    """Return what to build, `known` if that is known, or the manifests of a folder that needs no build."""
    fields = _list_fields(tree, overlay, path)
    prefix = f"{path}/" if path else ""
    below = {name.removeprefix(prefix) for name in tree if name.startswith(prefix)}
    if not below:
        raise PathNotFound(f"kustomization path not found: no file below {path or '.'}")
    if folders.is_plain(below) and not any(affixes) and not fields:
        return read_manifests({prefix + name: tree[prefix + name] for name in _list_manifests(below, path)})
    return known or _gather_sources(tree, path, fields, token)


def _write_top(sources: _Sources, affixes: Affixes) -> bytes:
    """Write the kustomization of the folder to build."""
    return write_json(sharing.merge_overlay(sources.document, affixes, ()))


def _get_shared(output: bytes, stood_in: Affixes, build: folders.Build) -> _Shared:
    return _Shared(msgspec.json.encode(_read(output, build)), stood_in)


def _take_shared(shared: _Shared, sources: _Sources, affixes: Affixes) -> tuple[Manifest, ...] | None:
    """Return the objects with the real values in place of the stand-ins; None where that may be something else."""
    texts = (*dict.fromkeys(sources.files.values()), write_json(sources.document))
    if not sharing.fits(shared.result, shared.stood_in, affixes, texts):
        return None
    return sharing.substitute(shared.result, shared.stood_in, affixes)


def _read(output: bytes, build: folders.Build) -> tuple[Manifest, ...]:
    """Read the objects that kustomize printed; an origin that it names is a file of the repository."""
    objects = read_output(output)
    if build.token.encode() not in output:
        return objects
    return tuple(_translate_all_names(manifest, build) for manifest in objects)


def _translate_all_names(value: Any, build: folders.Build) -> Any:
    match value:
        case str():
            return build.translate_names(value, seen_from=build.folders[0])
        case dict():
            return {name: _translate_all_names(item, build) for name, item in value.items()}
        case list():
            return [_translate_all_names(item, build) for item in value]
        case _:
            return value


def _read_document(tree: Tree, path: str) -> Mapping[str, object]:
    """Return the folder's kustomization, or the one that stands for its manifests."""
    own = folders.find_kustomization(tree, path)
    if own is not None:
        return write_texts(folders.read_kustomization(tree, own))
    resources = folders.list_resources(tree, path)
    if not resources:
        raise ManifestInvalid(f"{path or '.'} holds no manifests")
    prefix = f"{path}/" if path else ""
    read_manifests({prefix + name: tree[prefix + name] for name in resources if prefix + name in tree})
    return {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [f"./{name}" for name in resources],
    }


def _list_manifests(below: Collection[str], path: str) -> tuple[str, ...]:
    """Return the manifests. Raises ManifestInvalid: there are none. A folder emptied by mistake must not prune
    everything.
    """
    names = folders.list_manifests(below)
    if not names:
        raise ManifestInvalid(f"{path or '.'} holds no manifests")
    return names


def _list_fields(tree: Tree, overlay: Overlay, path: str) -> Fields:
    """List the overlay's fields, with those of its optional components that are there."""
    if not overlay.optional_components:
        return overlay.fields
    known = folders.list_folders(tree)
    places = {name: posixpath.normpath(posixpath.join(path, name)) for name in overlay.optional_components}
    found = [name for name, place in places.items() if place in known]
    return (*overlay.fields, ("components", found)) if found else overlay.fields


def _gather_sources(tree: Tree, path: str, fields: Fields, token: str) -> _Sources:
    """Gather what a build of the folder uses. Raises ManifestInvalid."""
    document = sharing.merge_overlay(_read_document(tree, path), Affixes("", "", ""), fields)
    build = folders.gather_build(tree, path, document, token)
    blobs: dict[str, bytes] = {}
    size = 0
    for name in dict.fromkeys(build.copied.values()):  # one that is used in a thousand folders counts once
        blobs[name] = tree[name]
        size += len(blobs[name])
        if size > MAX_SOURCES:
            raise ManifestInvalid(f"the files that {path or '.'} uses are larger than {MAX_SOURCES >> 20} MiB")
    written = build.written | {
        os.path.join(build.name(folder), folders.NAMES[0]): write_json(rewritten)
        for folder, rewritten in build.rewritten.items()
        if folder != path
    }
    hashes = {name: hashlib.sha256(data).hexdigest() for name, data in blobs.items()}
    lines = [f"{place} {hashes[name]}" for place, name in build.copied.items()]
    lines += [f"{place} {hashlib.sha256(data).hexdigest()}" for place, data in written.items()]
    files = {place: blobs[name] for place, name in build.copied.items()} | written
    top = build.rewritten[path]
    digest = hashlib.sha256("\n".join(lines).encode() + b"\n" + write_json(top))
    return _Sources(top, files, build, digest.digest())
