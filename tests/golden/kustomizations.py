"""Plays a recorded life of a Kustomization on a cluster, and compares what became of it with what was recorded."""

from __future__ import annotations

import asyncio
import json
import re
import shlex
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml

from gitops_core.api import GitRepository, Kustomization
from gitops_core.errors import AlreadyExists
from gitops_core.meta import Kind, Manifest, ObjectKey, ObjectRef
from gitops_core.ports import Cluster, Query
from gitops_core.runtime.policy import Policy
from tests.gitops_core.reconcilers.world import URL, World

Case = Mapping[str, Any]


def read_cases(name: str) -> list[Case]:
    lines = (Path(__file__).parent / "data" / name).read_text().splitlines()
    return [json.loads(line.replace("@GIT@", URL)) for line in lines]


CASES = read_cases("kustomizations.jsonl")
REAL = {case["name"] for case in CASES if case["name"].split("-")[1] in ("account", "kubeconfig", "tenant")} | {
    "k-force-service-clusterip",
    "k-force-spec-invalid-not-immutable",
    "k-hpa-owned-replicas",
    "k-ignore-replicas",
    "k-invalid-object-among-others",
    "k-moved-kind-version",
    "k-normalised-quantities",
    "k-takeover-kubectl-scale",
}
"""Cases that need the validation, the RBAC, the subresources or the address of a real API server."""


def make_policy(case: Case) -> Policy:
    """Return what the flags of the case stand for."""
    flags = case.get("flags", ())
    return Policy(
        cross_namespace_references="--no-cross-namespace-refs=true" not in flags,
        default_service_account="tenant" if "--default-service-account=tenant" in flags else "",
        sops_age_secret=ObjectKey("flux-system", "global-age") if "--sops-age-secret=global-age" in flags else None,
    )


def list_subjects(differences: Iterable[str]) -> set[str]:
    """List what differs, without how."""
    return {difference.partition(": ")[0] for difference in differences}


EVENT = Kind("", "v1", "Event")
REQUESTED = "reconcile.fluxcd.io/requestedAt"
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
FINALIZER = "finalizers.fluxcd.io"
OTHERS = frozenset({"kube-apiserver", "sealoop"})
"""Managers of what the embedded cluster does not write, and of our mark on what others' objects go with."""
CREATED_BY = "sealoop.dev/created-by"
IGNORED = (".labels.kubernetes.io/metadata.name", LAST_APPLIED)
PATIENCE = 90.0
"""Seconds that an end is waited for; the original had 75."""
_TYPES = {"configmap": Kind("", "v1", "ConfigMap"), "deployment": Kind("apps", "v1", "Deployment")}


@dataclass
class Player:
    """One case on one cluster."""

    case: Case
    world: World
    cluster: Cluster
    is_real: bool = False
    commits: list[str] = field(default_factory=list)
    uids: dict[ObjectRef, str] = field(default_factory=dict)
    told: Counter[tuple[str, str, str]] = field(default_factory=Counter)

    @property
    def namespace(self) -> str:
        return str(self.case["name"])

    @property
    def app(self) -> ObjectRef:
        return ObjectRef(Kustomization.KIND, ObjectKey(self.namespace, "app"))

    async def prepare(self) -> None:
        """Make everything but the Kustomization."""
        for name in (self.namespace, *self.case.get("namespaces", ())):
            await self._create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}, "python-requests")
        elsewhere = {one["metadata"].get("namespace") for one in self.case.get("objects", ())} & {"flux-system"}
        for name in elsewhere:
            await self._create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}, "python-requests")
        for manifest in self.case.get("objects", ()):
            placed = self._place(manifest)
            await self._create(placed, "setup")
            if (status := placed.get("status")) is not None:
                await self.cluster.patch(
                    ObjectRef.of(placed), {"status": status}, field_manager="setup", subresource="status"
                )
        await self._do_all(self.case.get("pre", ()))
        await self._commit(self.case["files"])
        if not self.case.get("noSource"):
            await self._put(GitRepository, "src", {"interval": "1s", "url": URL, "ref": {"branch": "main"}})

    async def begin(self, annotations: Mapping[str, str] = MappingProxyType({})) -> None:
        """Make the Kustomization, when its source has been fetched. Raises Invalid."""
        if not self.case.get("noSource") and "refused" not in self.case:
            await self._await_source()
        await self._put(Kustomization, "app", self.case["kustomization"], {REQUESTED: "t0", **annotations})

    async def play(self) -> list[str]:
        """Play the case to its end; what differs from what was recorded, phase by phase."""
        await asyncio.sleep(3)
        await self._do_all(self.case.get("during", ()))
        await self._end("t0")
        found = [f"[0] {each}" async for each in self._compare(self.case["result"])]
        steps = zip(self.case.get("then", ()), self.case.get("then_results", ()), strict=True)
        for number, (step, result) in enumerate(steps, 1):
            await self._do_all(step.get("do", ()))
            token = f"t{number}"
            if not any("deleteKustomization" in deed for deed in step.get("do", ())):
                await self._annotate(token)
            else:
                token = ""
            if "during" in step:
                await asyncio.sleep(3)
                await self._do_all(step["during"])
            await self._end(token)
            found += [f"[{number}] {each}" async for each in self._compare(result)]
        return found

    # what somebody does

    async def _do_all(self, deeds: Iterable[Mapping[str, Any]]) -> None:
        for deed in deeds:
            await self._do(deed)

    async def _do(self, deed: Mapping[str, Any]) -> None:
        match deed:
            case {"commit": files}:
                await self._commit(files)
                await asyncio.sleep(5)
            case {"patch": named, "body": body, **rest}:
                await self.cluster.patch(self._name(named), body, field_manager=rest.get("manager", "editor"))
            case {"status": named, "body": body}:
                body = {"status": body}
                await self.cluster.patch(self._name(named), body, field_manager="status-writer", subresource="status")
            case {"apply": manifest, "manager": manager}:
                await self.cluster.apply(self._place(manifest), field_manager=manager, force=True)
            case {"delete": named}:
                await self.cluster.delete(self._name(named))
            case {"kubectl": words}:
                await self._kubectl(words, deed.get("stdin", ""))
            case {"kustomization": spec}:
                await self.cluster.patch(self.app, {"spec": spec}, field_manager="test")
            case {"deleteKustomization": _}:
                await self.cluster.delete(self.app)
            case {"sleep": seconds}:
                await asyncio.sleep(seconds)
            case _:
                raise AssertionError(f"no such deed: {deed}")

    async def _kubectl(self, words: Sequence[str], stdin: str) -> None:
        """Write what kubectl would write, as the field manager that it would be."""
        if words[0] == "apply":
            server_side = "--server-side" in words
            for manifest in yaml.safe_load_all(stdin):
                placed = self._place(manifest)
                if server_side:
                    await self.cluster.apply(placed, field_manager="kubectl", force=True)
                else:
                    await self._apply_on_the_client(placed)
            return
        kind = _TYPES[words[1]]
        ref = ObjectRef(kind, ObjectKey(self.namespace, words[2]))
        match words[0]:
            case "create":
                data = dict(word.removeprefix("--from-literal=").split("=", 1) for word in words[3:])
                metadata = {"name": words[2], "namespace": self.namespace}
                manifest = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}
                await self.cluster.create(manifest, field_manager="kubectl-create")
            case "scale":
                patch: Any = {"spec": {"replicas": int(words[3].partition("=")[2])}}
                await self.cluster.patch(ref, patch, field_manager="kubectl", subresource="scale" * self.is_real)
            case "label" | "annotate":
                values = dict(word.split("=", 1) for word in words[3:])
                patch = {"metadata": {"labels" if words[0] == "label" else "annotations": values}}
                await self.cluster.patch(ref, patch, field_manager=f"kubectl-{words[0]}")
            case "patch":
                await self.cluster.patch(ref, json.loads(words[-1]), field_manager="kubectl-patch")
            case _:
                raise AssertionError(f"no such command: {shlex.join(words)}")

    async def _apply_on_the_client(self, manifest: Manifest) -> None:
        text = json.dumps({**manifest}, sort_keys=True) + "\n"
        metadata = manifest["metadata"]
        annotations = {**metadata.get("annotations", {}), LAST_APPLIED: text}
        noted = {**manifest, "metadata": {**metadata, "annotations": annotations}}
        manager = "kubectl-client-side-apply"
        if await self.cluster.get(ObjectRef.of(manifest)) is None:
            await self.cluster.create(noted, field_manager=manager)
        else:
            await self.cluster.patch(ObjectRef.of(manifest), noted, field_manager=manager)

    async def _commit(self, files: Mapping[str, str | Mapping[str, str] | None]) -> None:
        self.commits.append(await self.world.commit(files))  # type: ignore[arg-type]

    async def _await_source(self) -> None:
        for _ in range(int(PATIENCE * 10)):
            source = await self.cluster.get(ObjectRef(GitRepository.KIND, ObjectKey(self.namespace, "src")))
            if source is not None and "artifact" in (source.get("status") or {}):
                return
            await asyncio.sleep(0.1)

    async def _annotate(self, token: str) -> None:
        await self.cluster.patch(self.app, {"metadata": {"annotations": {REQUESTED: token}}}, field_manager="test")

    async def _create(self, manifest: Manifest, manager: str) -> None:
        try:
            await self.cluster.create(manifest, field_manager=manager)
        except AlreadyExists:
            await self.cluster.apply(manifest, field_manager=manager, force=True)

    async def _put(
        self, kind: type[Any], name: str, spec: Mapping[str, Any], annotations: Mapping[str, str] = {}
    ) -> None:
        metadata = {"name": name, "namespace": self.namespace, "annotations": annotations}
        manifest = {"apiVersion": kind.KIND.api_version, "kind": kind.KIND.kind, "metadata": metadata, "spec": spec}
        await self.cluster.create(manifest, field_manager="test")

    def _place(self, manifest: Manifest) -> Manifest:
        """Return the manifest with the case's namespace, if it needs one and has none."""
        kind, metadata = str(manifest["kind"]), manifest["metadata"]
        if (
            "namespace" in metadata
            or kind in ("Namespace", "ClusterRole", "ClusterRoleBinding")
            or "Definition" in kind
        ):
            return manifest
        return {**manifest, "metadata": {"namespace": self.namespace, **metadata}}

    def _name(self, named: Mapping[str, Any]) -> ObjectRef:
        namespace = named.get("namespace", self.namespace)
        return ObjectRef(Kind.of_manifest(named), ObjectKey(namespace, named["name"]))

    # what became of it

    async def _end(self, token: str) -> None:
        """Wait for the end of a phase."""
        for _ in range(int(PATIENCE * 4)):
            await asyncio.sleep(0.25)
            live = await self.cluster.get(self.app)
            if live is None:
                break
            status = live.get("status") or {}
            conditions = {each["type"]: each for each in status.get("conditions", ())}
            ready, reconciling = conditions.get("Ready", {}), conditions.get("Reconciling", {})
            if token and status.get("lastHandledReconcileAt") != token:
                continue
            if ready.get("status") in ("True", "False") and reconciling.get("reason") != "Progressing" and token:
                break
        await asyncio.sleep(0.5)

    async def _compare(self, result: Mapping[str, Any]):  # type: ignore[no-untyped-def]
        live = await self.cluster.get(self.app)
        if live is None or result.get("kustomizationGone"):
            if (live is None) != bool(result.get("kustomizationGone")):
                yield f"the Kustomization is {'gone' if live is None else 'there'}"
        else:
            status = live.get("status") or {}
            ours = {c["type"]: (c["status"], c["reason"]) for c in status.get("conditions", ())}
            theirs = {c["type"]: (c["status"], c["reason"]) for c in result["conditions"]}
            messages = {c["type"]: c["message"] for c in status.get("conditions", ())}
            for type_ in sorted({*ours, *theirs}):
                if ours.get(type_) != theirs.get(type_):
                    said = messages.get(type_, "")
                    wanted = next((c["message"] for c in result["conditions"] if c["type"] == type_), "")
                    yield f"{type_}: {ours.get(type_)} {said!r}, recorded {theirs.get(type_)} {wanted!r}"
            stored = (status.get("inventory") or {}).get("entries")
            if _sort(stored) != _sort(result["inventory"]):
                yield f"inventory: {stored}, recorded {result['inventory']}"
            for name in ("lastAppliedRevision", "lastAttemptedRevision", "observedGeneration"):
                if (found := self._mask(status.get(name))) != result[name]:
                    yield f"{name}: {found}, recorded {result[name]}"
            history = [each["lastReconciledStatus"] for each in status.get("history", ())]
            if history != (result["history"] or []):
                yield f"history: {history}, recorded {result['history']}: {status.get('history')}"
            if live["metadata"].get("finalizers") != result["finalizers"]:
                yield f"finalizers: {live['metadata'].get('finalizers')}"
        async for each in self._compare_objects(result):
            yield each
        async for each in self._compare_events(result):
            yield each

    async def _compare_objects(self, result: Mapping[str, Any]):  # type: ignore[no-untyped-def]
        expected = set()
        recreated = set(result.get("recreated", ()))
        for recorded in result["objects"]:
            ref = ObjectRef.of(recorded)
            expected.add(f"{ref.kind.kind}/{ref.key}")
            found = await self.cluster.get(ref)
            if found is None:
                yield f"{ref} is not there"
                continue
            uid = found["metadata"]["uid"]
            is_new = self.uids.get(ref, uid) != uid
            self.uids[ref] = uid
            name = f"{ref.kind.kind}/{ref.key}"
            if is_new != any(name in each for each in recreated):
                yield f"{ref} was {'' if is_new else 'not '}made anew"
            for difference in _differ(_clean(found), _clean(recorded)):
                yield f"{ref} {difference}"
        for name in result.get("untouched", ()):
            expected.add(name)
        for kind in _list_kinds(self.case, result):
            page = await self.cluster.list(Query(kind, self.namespace), dict)
            for each in page.items:
                ref = ObjectRef.of({"apiVersion": kind.api_version, "kind": kind.kind, **each})  # type: ignore[dict-item]
                if f"{ref.kind.kind}/{ref.key}" not in expected and ref.key.name not in ("kube-root-ca.crt", "default"):
                    yield f"{ref} is there"

    async def _compare_events(self, result: Mapping[str, Any]):  # type: ignore[no-untyped-def]
        await asyncio.sleep(0.5)
        page = await self.cluster.list(Query(EVENT, self.namespace), dict)
        now: Counter[tuple[str, str, str]] = Counter()
        for each in page.items:
            if each["involvedObject"]["name"] == "app":  # type: ignore[index]
                now[each["type"], each["reason"], each["message"]] += each.get("count", 1)  # type: ignore[index,union-attr]
        ours = {(type_, reason) for type_, reason, _ in now - self.told}
        theirs = {(each["type"], each["reason"]) for each in result["events"]}
        before = {(type_, reason) for type_, reason, _ in self.told}  # told again, it counts up after minutes
        self.told = now
        if not ours <= theirs or not theirs - ours <= before:
            yield f"events: {sorted(ours)}, recorded {sorted(theirs)}"

    def _mask(self, value: Any) -> Any:
        if isinstance(value, str):
            for number, commit in enumerate(self.commits, 1):
                value = value.replace(commit, f"<commit-{number}>")
        return value


def _list_kinds(case: Case, result: Mapping[str, Any]) -> set[Kind]:
    kinds = {Kind("", "v1", "ConfigMap"), Kind("", "v1", "Secret"), Kind("apps", "v1", "Deployment")}
    kinds |= {Kind("", "v1", "Service"), Kind("batch", "v1", "Job")}
    return kinds


def _sort(entries: Any) -> Any:
    return sorted(entries, key=lambda entry: entry["id"]) if entries else None


def _clean(manifest: Manifest) -> dict[str, Any]:
    annotations = manifest["metadata"].get("annotations") or {}
    about = {**manifest["metadata"], "annotations": {n: v for n, v in annotations.items() if n != CREATED_BY}}
    metadata = {
        name: value
        for name, value in about.items()
        if name in ("name", "namespace", "labels", "annotations", "finalizers", "ownerReferences") and value
    }
    managers = {
        (each["manager"], each["operation"], each.get("subresource", ""))
        for each in manifest["metadata"].get("managedFields", ())
        if each["manager"] not in OTHERS
    }
    rest = {name: value for name, value in manifest.items() if name not in ("metadata", "status")}
    return {**rest, "metadata": metadata, "managers": managers}


_MASKED = re.compile("<[a-z0-9-]+>")


def _differ(ours: Any, theirs: Any, path: str = "") -> Iterator[str]:
    """What of ours is not as recorded. Defaults that a real API server alone sets are no difference."""
    if path.endswith(IGNORED):
        return
    if path == ".managers":
        if ours != theirs:
            yield f"managers: {sorted(ours)}, recorded {sorted(theirs)}"
    elif isinstance(ours, Mapping) and isinstance(theirs, Mapping):
        for name in ours:
            yield from _differ(ours[name], theirs.get(name), f"{path}.{name}")
        if path.startswith((".metadata", ".data", ".rules", ".stringData", ".spec.template.metadata")) or not path:
            for name in theirs.keys() - ours.keys():
                if not _MASKED.search(str(theirs[name])) and not f"{path}.{name}".endswith(IGNORED):
                    yield f"{path}.{name}: missing, recorded {theirs[name]!r}"
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        for number, (one, other) in enumerate(zip(ours, theirs, strict=True)):
            yield from _differ(one, other, f"{path}[{number}]")
    elif ours != theirs and not (isinstance(theirs, str) and _MASKED.search(theirs)) and not (not ours and not theirs):
        yield f"{path}: {ours!r}, recorded {theirs!r}"
