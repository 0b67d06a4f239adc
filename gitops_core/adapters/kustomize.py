"""Implements Renderer: plain manifests without a subprocess, everything else with the kustomize program.

A build runs in a private folder in memory (/dev/shm where there is one) that holds the files it uses and no others,
with no plugins, no helm, no git, no network proxy that answers, bounded in time and output. One build serves every
prefix, suffix and namespace where that is the same (domain/sharing.py). What was built is kept by content: the folder's
Git object id and the overlay; so what did not change is not built again, and not even read.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import secrets
import shutil
import tempfile
from collections import OrderedDict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import msgspec

from gitops_core.domain import folders, sharing
from gitops_core.domain.manifests import read_manifests, read_output
from gitops_core.domain.sharing import Affixes
from gitops_core.errors import ManifestInvalid, PathNotFound, TransientError
from gitops_core.meta import Manifest, Tree
from gitops_core.ports import Compute, Overlay
from gitops_core.runtime.computing import IN_PLACE, READING

V = TypeVar("V")

MAX_OUTPUT = 64 * 2**20
MAX_SOURCES = 64 * 2**20
HOW_TO_GET = (
    "the kustomize program is missing: put it on PATH or name it in the setting kustomize "
    "(https://kubectl.docs.kubernetes.io/installation/kustomize; `make tools` builds it into .tools/bin)"
)


class RendererUnavailable(TransientError):
    """The kustomize program is missing, hangs, or prints too much."""

    reason = "BuildFailed"


@dataclass(frozen=True)
class _Sources:
    """What a build is made from, but for the prefix, suffix and namespace.

    Attributes:
        document: the kustomization of the folder, with the overlay's fields.
        files: every other file that the build may read, by path in the repository.
        fields: those that any kustomization of the build sets.
        digest: of all that; equal digests build the same.
    """

    document: Mapping[str, object]
    files: Mapping[str, bytes]
    fields: frozenset[str]
    leaves_root: bool
    digest: bytes

    @property
    def weight(self) -> int:
        return sum(map(len, self.files.values()))


@dataclass(frozen=True)
class _Shared:
    """A build with stand-ins: the result as JSON."""

    result: bytes
    stood_in: Affixes


class _Recent(Generic[V]):
    """The most recently used values, by key."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._values: OrderedDict[tuple[object, ...], V] = OrderedDict()

    def get(self, key: tuple[object, ...]) -> V | None:
        if key not in self._values:
            return None
        self._values.move_to_end(key)
        return self._values[key]

    def put(self, key: tuple[object, ...], value: V) -> None:
        self._values[key] = value
        self._values.move_to_end(key)
        while len(self._values) > self._size:
            self._values.popitem(last=False)


class Kustomize:
    """Implements Renderer."""

    def __init__(
        self,
        program: str = "",
        *,
        timeout: float = 60.0,
        builds: int = 2,
        kept: int = 256,
        compute: Compute = IN_PLACE,
    ) -> None:
        """
        Args:
            program: the kustomize binary; "" looks on PATH and in .tools/bin of the working directory.
            timeout: seconds that one build may take.
            builds: how many run at the same time.
            kept: how many results are remembered.
            compute: where files are read, decoded and compared.
        """
        self._compute = compute
        self._program = program
        self._timeout = timeout
        self._slots = asyncio.Semaphore(builds)
        self._results: _Recent[tuple[Manifest, ...]] = _Recent(kept)
        self._sources: _Recent[_Sources] = _Recent(kept)
        self._shared: _Recent[_Shared] = _Recent(kept)
        self._under_way: dict[tuple[object, ...], asyncio.Lock] = {}

    async def render(self, tree: Tree, overlay: Overlay, path: str = "") -> tuple[Manifest, ...]:
        path = path.strip("/")
        fields = msgspec.json.encode(overlay.fields)
        key = (tree.oid, path, overlay.namespace, overlay.name_prefix, overlay.name_suffix, fields)
        if (kept := self._results.get(key)) is not None:
            return kept
        rendered = await self._rendered(tree, overlay, path)
        self._results.put(key, rendered)
        return rendered

    async def _rendered(self, tree: Tree, overlay: Overlay, path: str) -> tuple[Manifest, ...]:
        affixes = Affixes(overlay.name_prefix, overlay.name_suffix, overlay.namespace)
        sources = await self._compute.run(READING, self._gathered, tree, overlay, path, affixes)
        if not isinstance(sources, _Sources):
            return sources
        key = ("contents", path, sources.digest, affixes)
        if (kept := self._results.get(key)) is None:
            kept = await self._made(sources, path, affixes)
            self._results.put(key, kept)
        return kept

    def _gathered(self, tree: Tree, overlay: Overlay, path: str, affixes: Affixes) -> _Sources | tuple[Manifest, ...]:
        """What there is to build, or the manifests of a folder that needs no build."""
        prefix = f"{path}/" if path else ""
        below = {name.removeprefix(prefix) for name in tree if name.startswith(prefix)}
        if not below:
            raise PathNotFound(f"kustomization path not found: no file below {path or '.'}")
        if folders.is_plain(below) and not any(affixes) and not overlay.fields:
            return read_manifests({prefix + name: tree[prefix + name] for name in _manifest_files(below, path)})
        return self._prepared(tree, overlay, path)

    def _prepared(self, tree: Tree, overlay: Overlay, path: str) -> _Sources:
        key = (tree.oid, path, msgspec.json.encode(overlay.fields))
        if (known := self._sources.get(key)) is None:
            known = _sources_of(tree, path, overlay)
            self._sources.put(key, known)
        return known

    async def _made(self, sources: _Sources, path: str, affixes: Affixes) -> tuple[Manifest, ...]:
        """From the shared build where that serves, else from a build of its own."""
        if sharing.may_share(sources.fields, affixes):
            shared = await self._shared_build(sources, path, affixes)
            if (found := await self._compute.run(sources.weight, _from_shared, shared, sources, affixes)) is not None:
                return found
        output = await self._build(sources, path, affixes)
        return await self._compute.run(len(output), read_output, output)

    async def _shared_build(self, sources: _Sources, path: str, affixes: Affixes) -> _Shared:
        key = (sources.digest, path, tuple(map(bool, affixes)))
        async with self._under_way.setdefault(key, asyncio.Lock()):
            shared = self._shared.get(key)
            if shared is None:
                stood_in = sharing.stand_ins(affixes, secrets.token_hex(8))
                output = await self._build(sources, path, stood_in)
                shared = await self._compute.run(len(output), _shared_of, output, stood_in)
                self._shared.put(key, shared)
        self._under_way.pop(key, None)
        return shared

    async def _build(self, sources: _Sources, path: str, affixes: Affixes) -> bytes:
        document = sharing.merged_overlay(sources.document, affixes, ())
        files = {**sources.files, os.path.join(path, folders.NAMES[0]): msgspec.json.encode(document)}
        async with self._slots:
            root = await asyncio.to_thread(_written, files)
            try:
                return await self._run(root, path, sources.leaves_root)
            finally:
                await asyncio.to_thread(shutil.rmtree, root, True)

    async def _run(self, root: str, path: str, leaves_root: bool) -> bytes:
        restriction = "LoadRestrictionsNone" if leaves_root else "LoadRestrictionsRootOnly"
        try:
            process = await asyncio.create_subprocess_exec(
                self._located(),
                *("build", os.path.join(root, path), "--load-restrictor", restriction, "--reorder", "none"),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                cwd=root,
                env=_environment(root),
            )
        except OSError as error:
            raise RendererUnavailable(f"cannot run {self._program or 'kustomize'}: {error.strerror}") from None
        try:
            async with asyncio.timeout(self._timeout):
                output, problem = await asyncio.gather(
                    _bounded(process, process.stdout, MAX_OUTPUT), _bounded(process, process.stderr, 2**16)
                )
                status = await process.wait()
        except TimeoutError:
            raise RendererUnavailable(f"kustomize build of {path or '.'} took longer than {self._timeout:g}s") from None
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if status != 0:
            raise ManifestInvalid(f"kustomize build failed: {_cause(problem, root)}")
        return output

    def _located(self) -> str:
        program = self._program or shutil.which("kustomize") or shutil.which("kustomize", path=".tools/bin")
        if program is None:
            raise RendererUnavailable(HOW_TO_GET)
        return os.path.abspath(program)


def _shared_of(output: bytes, stood_in: Affixes) -> _Shared:
    return _Shared(msgspec.json.encode(read_output(output)), stood_in)


def _from_shared(shared: _Shared, sources: _Sources, affixes: Affixes) -> tuple[Manifest, ...] | None:
    """The objects with the real values in the place of the stand-ins; None where that may be something else."""
    texts = (*sources.files.values(), msgspec.json.encode(sources.document))
    if not sharing.fits(shared.result, shared.stood_in, affixes, texts):
        return None
    return sharing.substituted(shared.result, shared.stood_in, affixes)


def _document(tree: Tree, path: str) -> Mapping[str, object]:
    """The folder's kustomization, or the one that stands for its manifests."""
    own = folders.kustomization_file(tree, path)
    if own is not None:
        return folders.read_kustomization(tree, own)
    resources = folders.generated_resources(tree, path)
    if not resources:
        raise ManifestInvalid(f"{path or '.'} holds no manifests")
    prefix = f"{path}/" if path else ""
    read_manifests({prefix + name: tree[prefix + name] for name in resources if prefix + name in tree})
    return {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [f"./{name}" for name in resources],
    }


def _manifest_files(below: Collection[str], path: str) -> tuple[str, ...]:
    """Raises ManifestInvalid: there are none. A folder that was emptied by mistake must not prune everything."""
    names = folders.manifest_files(below)
    if not names:
        raise ManifestInvalid(f"{path or '.'} holds no manifests")
    return names


def _sources_of(tree: Tree, path: str, overlay: Overlay) -> _Sources:
    """Raises ManifestInvalid."""
    document = sharing.merged_overlay(_document(tree, path), Affixes("", "", ""), overlay.fields)
    build = folders.build_of(tree, path, document)
    own = folders.kustomization_file(tree, path)
    files = {name: tree[name] for name in sorted(build.files) if name != own}
    if sum(map(len, files.values())) > MAX_SOURCES:
        raise ManifestInvalid(f"the files that {path or '.'} uses are larger than {MAX_SOURCES >> 20} MiB")
    digest = hashlib.sha256(msgspec.json.encode(document))
    for name, data in files.items():
        digest.update(f"\n{name} {len(data)}\n".encode() + data)
    return _Sources(document, files, build.fields, build.leaves_root, digest.digest())


def _written(files: Mapping[str, bytes]) -> str:
    """A new private folder with these files."""
    memory = "/dev/shm"  # noqa: S108  # mkdtemp makes a folder of our own in it
    root = tempfile.mkdtemp(prefix="sealoop-build-", dir=memory if os.access(memory, os.W_OK) else None)
    for name, data in files.items():
        target = Path(root, name)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    return os.path.realpath(root)


def _environment(root: str) -> dict[str, str]:
    """No credentials, no program to call, and a proxy that does not answer: a build reads its files only."""
    nowhere = "http://127.0.0.1:9"
    return {"HOME": root, "PATH": "", "HTTP_PROXY": nowhere, "HTTPS_PROXY": nowhere, "TMPDIR": root}


async def _bounded(process: asyncio.subprocess.Process, stream: asyncio.StreamReader | None, limit: int) -> bytes:
    """What the process prints, which is killed when that is too much."""
    data, is_over = bytearray(), False
    while stream is not None and (chunk := await stream.read(2**16)):
        data += chunk
        if len(data) > limit:  # read on: a process whose pipe is not read to its end is never seen to end
            is_over = True
            data.clear()
            with contextlib.suppress(ProcessLookupError):
                process.kill()
    if is_over:
        raise RendererUnavailable(f"kustomize printed more than {limit >> 10} KiB")
    return bytes(data)


def _cause(problem: bytes, root: str) -> str:
    lines = problem.decode("utf-8", "replace").strip().splitlines()
    text = "\n".join(line for line in lines if not line.startswith("Flag --reorder")).removeprefix("Error: ")
    return text.replace(f"{root}/", "").replace(root, ".")[:2000]
