"""What guards make policies choose, and digests that are reflected: the real runtime, a registry in memory."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest
from prometheus_client import CollectorRegistry

from gitops_core.api import GitRepository, Kustomization
from gitops_core.errors import RegistryUnavailable
from gitops_core.meta import ObjectKey, ObjectRef
from gitops_core.runtime.metrics import Metrics
from gitops_core.runtime.watching.informers import Informers
from gitops_core.runtime.watching.objects import WatchedObjects
from gitops_core.schema import make_crd
from image_updater.adapters.catalog import SqliteCatalog
from image_updater.api import ImagePolicy, ImageRepository, ImageUpdateAutomation, UpdateGuard
from image_updater.domain.guards.explaining import explain_tags
from image_updater.domain.registry.references import parse_repository
from image_updater.domain.tags.listings import Listings
from image_updater.reconcilers import ImagePolicyReconciler
from tests.image_updater.test_guards import DEPLOYMENT, healthy, patch_status
from tests.image_updater.world import IMAGE, URL, World, conditions, has_failed, is_ready
from tests.simulation.fakes.registry import FakeRegistry
from tests.simulation.loop import SeededChance, in_virtual_time


def latest(manifest: Any) -> tuple[str, str]:
    found = manifest["status"].get("latestRef") or {}
    return found.get("tag", ""), found.get("digest", "")


def chose(tag: str) -> Any:
    return lambda manifest: latest(manifest)[0] == tag


def message(manifest: Any) -> str:
    return next(c["message"] for c in conditions(manifest) if c["type"] == "Ready")


async def annotate(world: World, name: str, **annotations: str) -> None:
    ref = ObjectRef(ImagePolicy.KIND, ObjectKey("default", name))
    patch = {"metadata": {"annotations": {key.replace("__", "/"): value for key, value in annotations.items()}}}
    await world.cluster.patch(ref, patch, field_manager="test")


async def quarantine(world: World, name: str, **status: Any) -> None:
    ref = ObjectRef(UpdateGuard.KIND, ObjectKey("default", name))
    await world.cluster.patch(ref, {"status": status}, field_manager="test", subresource="status")


class Reflection(NamedTuple):
    """One row of TestImagePolicyReconciler_digestReflection: what was, what is asked for, which digest is expected."""

    name: str
    before: str
    after: str
    tag_changes: bool
    moved: bool
    expected: str  # "", "old": what was reflected before, "now": what the tag names


REFLECTIONS = [
    Reflection("never stays without", "Never", "Never", False, True, ""),
    Reflection("never, a new tag", "Never", "Never", True, False, ""),
    Reflection("first always", "Never", "Always", False, False, "now"),
    Reflection("first if not present", "Never", "IfNotPresent", False, False, "now"),
    Reflection("always follows a tag that moves", "Always", "Always", False, True, "now"),
    Reflection("always, a new tag", "Always", "Always", True, False, "now"),
    Reflection("if not present keeps what it has", "IfNotPresent", "IfNotPresent", False, True, "old"),
    Reflection("if not present, a new tag", "IfNotPresent", "IfNotPresent", True, False, "now"),
    Reflection("from always to if not present", "Always", "IfNotPresent", False, True, "old"),
    Reflection("from if not present to always", "IfNotPresent", "Always", False, True, "now"),
    Reflection("from always to never", "Always", "Never", False, True, ""),
    Reflection("from if not present to never", "IfNotPresent", "Never", False, True, ""),
]


@pytest.mark.parametrize("row", REFLECTIONS, ids=[row.name for row in REFLECTIONS])
@in_virtual_time
async def test_a_digest_is_reflected_as_the_original_does(row: Reflection) -> None:
    def spec(policy: str) -> dict[str, Any]:
        return {"digestReflectionPolicy": policy} | ({"interval": "10m"} if policy == "Always" else {})

    world = World()
    async with world.running():
        old = world.fakes.push(IMAGE, "1.0.0")
        await world.scanned(insecure=True)  # the original cannot reflect digests there
        await world.policy(**spec(row.before))
        await world.until(ImagePolicy, "app", is_ready)

        tag = "1.1.0" if row.tag_changes else "1.0.0"
        now = world.fakes.push(IMAGE, tag) if row.tag_changes or row.moved else old
        await world.policy(**spec(row.after))
        await world.until(ImagePolicy, "app", lambda o: is_ready(o) and chose("1.0.0")(o))
        await world.clock.sleep(700)
        manifest = await world.get(ImagePolicy, "app")

    tag = "1.1.0" if row.tag_changes else "1.0.0"
    digest = {"": "", "old": old, "now": now}[row.expected]
    assert latest(manifest) == (tag, digest)
    assert message(manifest).startswith(
        f"Latest image tag for {IMAGE} resolved to {tag}" + (f" with digest {digest}" if digest else "")
    )


@in_virtual_time
async def test_without_digests_and_guards_a_registry_is_asked_for_tags_only() -> None:
    world = World()
    async with world.running():
        await world.scanned("1.0.0")
        await world.policy()
        await world.until(ImagePolicy, "app", is_ready)
        result = world.fakes.requests
    assert result == 1


@in_virtual_time
async def test_a_digest_that_cannot_be_looked_up_keeps_what_was_chosen() -> None:
    world = World()
    async with world.running():
        digest = world.fakes.push(IMAGE, "1.0.0")
        await world.scanned()
        await world.policy(digestReflectionPolicy="IfNotPresent")
        await world.until(ImagePolicy, "app", is_ready)

        async def only_tags(deed: str) -> None:
            if deed == "digest":
                raise RegistryUnavailable("HEAD failed: away")

        world.fakes.fault = only_tags
        world.fakes.push(IMAGE, "1.1.0")
        await world.request_scan("app")
        manifest = await world.until(ImagePolicy, "app", has_failed)

    assert latest(manifest) == ("1.0.0", digest)
    assert message(manifest) == f"failed fetching digest of {IMAGE}:1.1.0: HEAD failed: away"


@in_virtual_time
async def test_a_young_tag_waits_and_then_goes_out() -> None:
    world = World()
    async with world.running():
        await world.put(UpdateGuard, "careful", minAge="2h")
        await world.scanned("1.0.0")
        await world.policy()
        waiting = await world.until(ImagePolicy, "app", has_failed)
        await world.clock.sleep(7500)
        await world.until(ImagePolicy, "app", chose("1.0.0"))
        world.fakes.push(IMAGE, "1.1.0")
        await world.request_scan("app")
        await world.clock.sleep(600)
        young = await world.get(ImagePolicy, "app")
        began = world.clock.monotonic()
        await world.request_scan("app")
        await world.clock.sleep(3000)
        later = await world.get(ImagePolicy, "app")
        await world.clock.sleep(3500)
        await world.until(ImagePolicy, "app", chose("1.1.0"))
        assert len([e for e in await world.events("ImagePolicy") if "resolved to 1.0.0" in e]) == 1
        took = world.clock.monotonic() - began

    assert message(waiting).startswith("no candidate qualifies: 1.0.0 is too young until 2026-")
    assert latest(young)[0] == "1.0.0"
    assert message(young).startswith(f"Latest image tag for {IMAGE} resolved to 1.0.0; 1.1.0 is too young until 2026-")
    assert message(later) == message(young)  # or each look would write a status
    assert took < 7000


@in_virtual_time
async def test_a_tag_that_moves_raises_an_alarm_and_is_young_again() -> None:
    world = World()
    async with world.running():
        await world.put(UpdateGuard, "careful", minAge="1h")
        await world.scanned("1.0.0", "1.1.0")
        old = world.fakes.push(IMAGE, "1.1.0")
        await world.policy()
        await world.clock.sleep(4000)
        await world.until(ImagePolicy, "app", chose("1.1.0"))
        world.fakes.push(IMAGE, "0.0.1")
        new = world.fakes.push(IMAGE, "1.1.0")
        await world.until(ImagePolicy, "app", chose("1.0.0"))
        manifest, events = await world.get(ImagePolicy, "app"), await world.events("ImagePolicy")

    assert f"tag 1.1.0 of {IMAGE} names another image now: {old} -> {new}" in events
    assert "; 1.1.0 is too young until 2026-" in message(manifest)


@pytest.mark.parametrize("refused_by", ["quarantine", "skip"])
@in_virtual_time
async def test_a_digest_that_is_kept_is_judged_by_itself_and_not_by_what_its_tag_names_now(refused_by: str) -> None:
    world = World()
    async with world.running():
        await world.put(UpdateGuard, "loop", rollback={})
        await world.scanned("1.0.0", "1.1.0")
        await world.policy(digestReflectionPolicy="IfNotPresent")
        chosen = await world.until(ImagePolicy, "app", chose("1.1.0"))
        bad, good = latest(chosen)[1], world.fakes.push(IMAGE, "1.1.0", "mended")
        await world.clock.sleep(700)
        kept = await world.get(ImagePolicy, "app")
        if refused_by == "skip":
            await world.put(UpdateGuard, "loop", rollback={}, skips=[{"digest": bad}])
        else:
            record = {"policy": "app", "tag": "1.1.0", "digest": bad, "reason": "it crashed"}
            before = {"previousTag": "1.0.0", "since": "2026-01-01T00:00:00Z"}
            await quarantine(world, "loop", quarantine=[{**record, **before}])
        await world.until(ImagePolicy, "app", chose("1.0.0"))
        found = await world.until(ImagePolicy, "app", chose("1.1.0"))

    assert latest(kept) == ("1.1.0", bad)
    assert latest(found) == ("1.1.0", good)


@in_virtual_time
async def test_a_tag_that_moves_while_it_is_asked_for_is_no_older_than_the_answer() -> None:
    world = World()
    async with world.running():
        await world.put(UpdateGuard, "careful", minAge="1h")
        await world.scanned("1.0.0")
        await world.policy(digestReflectionPolicy="Always", interval="10m")
        await world.clock.sleep(4000)
        await world.until(ImagePolicy, "app", chose("1.0.0"))
        moved: list[float] = []

        async def slow(deed: str) -> None:
            if deed == "digest" and not moved:
                await world.clock.sleep(500)
                world.fakes.push(IMAGE, "1.0.0", "another")
                moved.append(world.clock.monotonic())

        world.fakes.fault = slow
        await world.clock.sleep(1200)
        new = await world.fakes.resolve_digest(parse_repository(IMAGE), "1.0.0")
        await world.clock.sleep(2800)
        await world.until(ImagePolicy, "app", lambda o: latest(o) == ("1.0.0", new))
        result = world.clock.monotonic() - moved[0]
    assert result >= 3600


@in_virtual_time
async def test_a_quarantined_image_is_taken_back_and_the_next_tag_goes_out() -> None:
    world = World()
    async with world.running():
        await world.put(UpdateGuard, "loop", rollback={})
        await world.scanned("1.0.0", "1.1.0", "1.2.0")
        await world.policy()
        await world.until(ImagePolicy, "app", chose("1.2.0"))
        record = {"policy": "app", "tag": "1.2.0", "since": "2026-01-01T00:00:00Z", "reason": "it crashed"}
        await quarantine(world, "loop", quarantine=[{**record, "previousTag": "1.0.0"}])
        back = await world.until(ImagePolicy, "app", chose("1.0.0"))
        world.fakes.push(IMAGE, "1.3.0")
        await world.request_scan("app")
        on = await world.until(ImagePolicy, "app", chose("1.3.0"))

    assert message(back) == (
        f"Latest image tag for {IMAGE} resolved to 1.0.0 (previously {IMAGE}:1.2.0); taken back to it; "
        "1.2.0 is quarantined: it crashed; 1.1.0 is not newer than 1.2.0, which is quarantined"
    )
    assert latest(on) == ("1.3.0", "")


@in_virtual_time
async def test_a_platform_that_is_missing_lets_the_next_tag_win() -> None:
    world = World()
    async with world.running():
        await world.put(UpdateGuard, "arm", platforms=["linux/amd64", "linux/arm64"])
        digest = world.fakes.push(IMAGE, "1.0.0")
        world.fakes.describe(IMAGE, digest, platforms=("linux/amd64", "linux/arm64"))
        await world.scanned("1.1.0")
        await world.policy()
        manifest = await world.until(ImagePolicy, "app", is_ready)

    assert message(manifest) == f"Latest image tag for {IMAGE} resolved to 1.0.0; 1.1.0 does not offer linux/arm64"


@in_virtual_time
async def test_a_list_that_shrank_too_much_is_not_believed_until_a_person_says_so() -> None:
    world = World()
    async with world.running():
        await world.put(UpdateGuard, "whole", maxShrink=20)
        await world.scanned(*(f"1.{n}.0" for n in range(10)))
        await world.policy()
        await world.until(ImagePolicy, "app", chose("1.9.0"))
        for n in range(5, 10):
            world.fakes.remove(IMAGE, f"1.{n}.0")
        shrunk = await world.until(ImagePolicy, "app", has_failed)
        await annotate(world, "app", **{"sealoop.dev__believe-tags": "5"})
        await world.until(ImagePolicy, "app", chose("1.4.0"))

    ready = next(c for c in conditions(shrunk) if c["type"] == "Ready")
    assert (ready["reason"], latest(shrunk)[0]) == ("ListShrank", "1.9.0")
    assert ready["message"].startswith("5 of 10 known tags vanished from the listing, more than 20 % (maxShrink)")


@in_virtual_time
async def test_a_pin_a_skip_and_labels_decide() -> None:
    world = World()
    said = []
    async with world.running():
        await world.put(UpdateGuard, "people", skips=[{"pattern": r"^1\.2", "reason": "broken"}])
        await world.scanned("1.0.0", "1.1.0", "1.2.0")
        await world.policy()
        said.append(message(await world.until(ImagePolicy, "app", is_ready)))
        await world.put(UpdateGuard, "people", pins=[{"tag": "1.0.0"}], skips=[])
        said.append(message(await world.until(ImagePolicy, "app", chose("1.0.0"))))
        await world.put(
            UpdateGuard, "people", policySelector={"matchLabels": {"tier": "none"}}, pins=[{"tag": "1.0.0"}]
        )
        said.append(message(await world.until(ImagePolicy, "app", chose("1.2.0"))))

    assert said == [
        f"Latest image tag for {IMAGE} resolved to 1.1.0; 1.2.0 is skipped: broken",
        f"Latest image tag for {IMAGE} resolved to 1.0.0 (previously {IMAGE}:1.1.0); it is pinned",
        f"Latest image tag for {IMAGE} resolved to 1.2.0 (previously {IMAGE}:1.0.0)",
    ]


STAGE = ObjectRef(DEPLOYMENT, ObjectKey("stage", "web"))


async def run_on_stage(world: World, tag: str, replicas: int = 1) -> None:
    """A Deployment of that tag, applied by a Kustomization of what an automation of namespace stage writes."""
    source = {"sourceRef": {"kind": "GitRepository", "name": "fleet"}, "interval": "10m"}
    commit = {"git": {"commit": {"author": {"email": "bot@example.com"}}}}
    await world.cluster.apply(make_crd(Kustomization), field_manager="test")
    await world.put(GitRepository, "fleet", namespace="stage", url=URL, interval="10m", ref={"branch": "main"})
    await world.put(ImageUpdateAutomation, "fleet", namespace="stage", **source, **commit)
    await world.put(Kustomization, "app", namespace="stage", path="./", prune=True, **source)
    inventory = {"entries": [{"id": "stage_web_apps_Deployment", "v": "v1"}]}
    applied = {"lastAttemptedRevision": "main@sha1:1", "inventory": inventory}
    await patch_status(world, ObjectRef(Kustomization.KIND, ObjectKey("stage", "app")), applied)
    prefix = "kustomize.toolkit.fluxcd.io"
    template = {
        "metadata": {"labels": {"app": "web"}},
        "spec": {"containers": [{"name": "web", "image": f"{IMAGE}:{tag}"}]},
    }
    manifest = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {**names(STAGE), "labels": {f"{prefix}/name": "app", f"{prefix}/namespace": "stage"}},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}}, "template": template},
    }
    live = await world.cluster.apply(manifest, field_manager="kustomize-controller", force=True)
    counts = dict.fromkeys(("replicas", "updatedReplicas", "readyReplicas", "availableReplicas"), replicas)
    status = {"observedGeneration": live["metadata"]["generation"], **healthy(tag), **counts}
    await patch_status(world, STAGE, status)


def names(ref: ObjectRef) -> dict[str, str]:
    return {"name": ref.key.name, "namespace": ref.key.namespace}


async def two_namespaces(world: World) -> None:
    """Production, which wants an hour of stage, and stage, which chose 1.0.0."""
    for namespace in ("default", "stage"):
        await world.namespace(namespace, {"name": namespace})
    await world.scanned("1.0.0", "1.1.0")
    promotion = {"policyRef": {"name": "app", "namespace": "stage"}, "after": "1h"}
    await world.put(UpdateGuard, "prod", promotion=promotion)
    await world.put(UpdateGuard, "stage", namespace="stage")
    await world.put(ImageRepository, "app", namespace="stage", image=IMAGE, interval="1m")
    spec = {"imageRepositoryRef": {"name": "app"}, "policy": {"semver": {"range": "1.0.0"}}}
    await world.put(ImagePolicy, "app", namespace="stage", **spec)
    await world.until(ImagePolicy, "app", is_ready, "stage")
    await world.policy()


OPENED = {"namespaceSelectors": [{"matchLabels": {"name": "default"}}]}


@in_virtual_time
async def test_production_follows_what_stage_has_proven() -> None:
    world = World()
    async with world.running():
        await two_namespaces(world)
        closed = await world.until(ImagePolicy, "app", has_failed)
        await world.put(UpdateGuard, "stage", namespace="stage", accessFrom=OPENED)
        await run_on_stage(world, "1.0.0")
        await world.clock.sleep(900)
        waiting = await world.get(ImagePolicy, "app")
        await world.clock.sleep(2900)
        promoted = await world.until(ImagePolicy, "app", chose("1.0.0"))

    assert "no UpdateGuard of namespace 'stage' is open to namespace 'default' (accessFrom)" in message(closed)
    assert "1.0.0 is not promoted until 2026-" in message(waiting)
    assert "; 1.1.0 is not promoted: ImagePolicy stage/app was not seen healthy with it" in message(promoted)


@in_virtual_time
async def test_an_image_that_went_down_was_deleted_or_set_back_on_stage_is_not_promoted() -> None:
    world = World()
    said = []
    async with world.running():
        await two_namespaces(world)
        await world.put(UpdateGuard, "stage", namespace="stage", accessFrom=OPENED)
        await run_on_stage(world, "1.0.0")
        await world.clock.sleep(1800)
        await patch_status(world, STAGE, {"availableReplicas": 0, "readyReplicas": 0, "unavailableReplicas": 1})
        await world.clock.sleep(2400)
        said.append(message(await world.get(ImagePolicy, "app")))
        await run_on_stage(world, "0.9.0")
        await world.clock.sleep(60)
        said.append(message(await world.get(ImagePolicy, "app")))
        await run_on_stage(world, "1.0.0")
        await world.clock.sleep(1800)
        await world.cluster.delete(STAGE)
        await world.clock.sleep(2400)
        said.append(message(await world.get(ImagePolicy, "app")))
    down, set_back, deleted = said

    assert "1.0.0 is not promoted: with ImagePolicy stage/app it is not healthy now" in down
    assert "1.0.0 is not promoted: with ImagePolicy stage/app it is set back" in set_back
    assert "1.0.0 is not promoted: with ImagePolicy stage/app it is gone" in deleted


@in_virtual_time
async def test_a_workload_scaled_to_nothing_on_stage_proves_nothing() -> None:
    world = World()
    said = []
    async with world.running():
        await two_namespaces(world)
        await world.put(UpdateGuard, "stage", namespace="stage", accessFrom=OPENED)
        await run_on_stage(world, "1.0.0", replicas=0)
        await world.clock.sleep(7200)
        said.append(message(await world.get(ImagePolicy, "app")))
        await run_on_stage(world, "1.0.0")
        await world.clock.sleep(1800)
        await run_on_stage(world, "1.0.0", replicas=0)
        await world.clock.sleep(2400)
        said.append(message(await world.get(ImagePolicy, "app")))
        await run_on_stage(world, "1.0.0")
        await world.clock.sleep(2400)
        said.append(message(await world.get(ImagePolicy, "app")))
    never, gone, again = said

    assert "1.0.0 is not promoted: ImagePolicy stage/app was not seen healthy with it" in never
    assert "1.0.0 is not promoted: with ImagePolicy stage/app it is gone" in gone
    assert "1.0.0 is not promoted until 2026-" in again


@in_virtual_time
async def test_a_guard_that_cannot_be_read_lets_nothing_change() -> None:
    world = World()
    async with world.running():
        await world.scanned("1.0.0")
        await world.policy()
        await world.until(ImagePolicy, "app", is_ready)
        await world.put(UpdateGuard, "bad", skips=[{"pattern": "("}])
        world.fakes.push(IMAGE, "1.1.0")
        manifest = await world.until(ImagePolicy, "app", has_failed)

    ready = next(c for c in conditions(manifest) if c["type"] == "Ready")
    assert (ready["reason"], latest(manifest)[0]) == ("InvalidGuard", "1.0.0")
    assert ready["message"].startswith(
        "UpdateGuard 'bad': spec.skips[0].pattern: error parsing regexp: missing closing )"
    )


async def test_every_tag_is_explained_as_it_was_decided() -> None:
    world, fakes = World(), FakeRegistry()
    digest = fakes.push(IMAGE, "1.0.0")
    fakes.describe(IMAGE, digest, platforms=("linux/arm64",))
    for tag in ("1.1.0", "1.2.0", "latest"):
        fakes.push(IMAGE, tag)
    catalog = SqliteCatalog.open(None)
    await catalog.store(f"{IMAGE} for default", ("1.0.0", "1.1.0", "1.2.0", "latest"), world.clock.now())
    for kind in (ImageRepository, ImagePolicy, UpdateGuard):
        await world.cluster.apply(make_crd(kind), field_manager="test")
    await world.put(UpdateGuard, "arm", platforms=["linux/arm64"], skips=[{"tag": "1.2.0"}])
    await world.put(ImageRepository, "app", image=IMAGE, interval="1m")
    scan = {"lastScanResult": {"tagCount": 4, "revision": "1"}, "canonicalImageName": IMAGE}
    ref = ObjectRef(ImageRepository.KIND, ObjectKey("default", "app"))
    await world.cluster.patch(ref, {"status": scan}, field_manager="test", subresource="status")
    await world.policy()
    informers = Informers(world.cluster, world.clock, SeededChance(1), Metrics(CollectorRegistry()))
    objects = WatchedObjects(informers, world.cluster)  # none runs: everything is read from the cluster
    wanted = await objects.get(ImagePolicy, ObjectKey("default", "app"))
    assert wanted is not None

    policies = ImagePolicyReconciler(world.cluster, world.clock, objects, catalog, fakes, fakes, Listings())
    request, _ = await policies.explain(wanted)
    said = [str(verdict) for verdict in explain_tags(request)]
    catalog.close()
    world.cluster.close()

    assert said == [
        "1.2.0 is skipped",
        "1.1.0 does not offer linux/arm64",
        f"1.0.0 is chosen with digest {digest}",
        "latest is no version of three parts",
    ]
