"""What a Kustomization would do with the files of a checkout: asked of the API server, and nothing is written.

It builds, substitutes and plans as the service does, with the rights of whoever asks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from gitops_core.api import Kustomization
from gitops_core.domain.render.variables import substitute_all
from gitops_core.domain.sources.ignore import SelectedTree
from gitops_core.domain.sync.differences import Difference, list_differences
from gitops_core.domain.sync.owners import make_kustomization_ownership
from gitops_core.domain.sync.predictions import predict_from_reading
from gitops_core.errors import GitOpsError, ManifestInvalid, StalledError
from gitops_core.meta import Manifest, ObjectRef, Tree
from gitops_core.ports import Clock, Cluster
from gitops_core.reconcilers.applying import Applier
from gitops_core.reconcilers.building import Builder
from gitops_core.reconcilers.folders import Folder, confine_path, read_rules
from gitops_core.reconcilers.planning import make_plan, plan_revision
from gitops_core.reconcilers.variables import read_variables

SYMBOLS: Mapping[str, str] = {"created": "+", "configured": "~", "replaced": "!", "deleted": "-"}


@dataclass(frozen=True)
class Planned:
    """What would become of one object.

    Attributes:
        change: created, configured, replaced, deleted, unchanged or skipped.
    """

    ref: ObjectRef
    change: str
    differences: tuple[Difference, ...] = ()

    @property
    def is_change(self) -> bool:
        return self.change in SYMBOLS


class FolderPlan(NamedTuple):
    """What would become of the objects, in the order in which it would; and the digest of their build."""

    planned: tuple[Planned, ...]
    digest: str


async def plan(
    wanted: Kustomization, files: Tree, cluster: Cluster, builder: Builder, clock: Clock, ignore: str | None = None
) -> tuple[Planned, ...]:
    """Plan what the Kustomization would do with `files`, in the order in which it would.

    Args:
        wanted: with the status of the live object, if there is one: its inventory says what is pruned.
        files: of the whole repository.
        ignore: `spec.ignore` of its source.

    Raises:
        StalledError, TransientError: why it would fail, as the service would say it.
    """
    if wanted.spec.kube_config is not None:
        raise StalledError(
            f"{wanted.ref} is for another cluster (spec.kubeConfig): ask with the kubeconfig of that one"
        )
    folder = Folder(SelectedTree(files, read_rules(files, ignore)), confine_path(wanted.spec.path))
    return (await plan_folder(wanted, folder, cluster, make_applier(wanted, cluster, clock), builder)).planned


def make_applier(wanted: Kustomization, cluster: Cluster, clock: Clock) -> Applier:
    """Make what applies to our own cluster, as whoever asks."""
    return Applier(cluster, clock, make_kustomization_ownership(wanted.key), force=wanted.spec.force)


async def plan_folder(
    wanted: Kustomization, folder: Folder, cluster: Cluster, applier: Applier, builder: Builder, revision: str = ""
) -> FolderPlan:
    """Plan what the Kustomization would do with a folder.

    Args:
        cluster: our own, which holds the variables.
        applier: of the cluster that it is applied to.
        revision: of the folder's files, if they were fetched: a person may have confirmed what it deletes.

    Raises:
        StalledError, TransientError: as `plan`.
    """
    keys = await builder.decrypter.read_keys(wanted)
    built = await builder.build(wanted, folder.tree, folder.path, keys)
    if built.left:
        raise ManifestInvalid(built.left)
    variables = await read_variables(cluster, wanted)
    mute_variables, mute_plaintext = variables.make_mute(), built.plaintext.make_mute()

    def mute(text: str) -> str:
        return mute_plaintext(mute_variables(text))

    objects = built.objects if variables.values is None else substitute_all(built.objects, variables.values).objects
    try:
        return FolderPlan(await _plan_objects(wanted, objects, applier, revision, mute), built.digest)
    except GitOpsError as error:
        error.args = (mute(str(error)),)
        raise


async def _plan_objects(
    wanted: Kustomization, objects: Iterable[Manifest], applier: Applier, revision: str, mute: Callable[[str], str]
) -> tuple[Planned, ...]:
    scoped, ownership = await applier.scope(objects), applier.ownership
    made = plan_revision(wanted, scoped, ownership, revision) if revision else make_plan(wanted, scoped, ownership)
    lives = await applier.read_lives(action.ref for action in made.actions)
    predictions = await applier.try_out(made, lives)
    found: list[Planned] = []
    for action in made.actions:
        prediction = predictions[action.ref]
        if prediction.is_open:
            prediction = predict_from_reading(action, lives.get(action.ref), None, ownership)
        old, new = prediction.live, prediction.predicted
        differences = () if old is None or new is None else list_differences(old, new, ownership.manager, mute)
        change = prediction.change or ("configured" if differences else "unchanged")
        found.append(Planned(action.ref, change, differences if change == "configured" else ()))
    for ref in made.prune:
        present = await applier.find(ref)
        if present is not None and ownership.may_prune(present[1]):
            found.append(Planned(ref, "deleted"))
    return tuple(found)
