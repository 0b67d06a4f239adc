"""`sealoop rbac`: what the service must be allowed to do, from what each package declares.

    for the service itself                ClusterRole sealoop, and Role sealoop in the Lease's namespace
    for what it applies on users' behalf  ClusterRole sealoop-applier

and with --users what Kubernetes' own roles get of our kinds, by aggregation:

    view, edit, admin                     ClusterRole sealoop-view
    edit, admin                           ClusterRole sealoop-edit: all but statuses, which are the service's word

The table in a document stands between two comments; `--check` fails when it is not what would be written.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import click

from gitops_core.meta import Manifest, Resource
from gitops_core.runtime.permissions import READ, Permission, Verb, list_permissions
from sealoop.generating.tables import begin, end, insert_table, write_markdown

BEGIN, END = begin("rbac"), end("rbac")
ORDER: tuple[Verb, ...] = (
    *("get", "list", "watch", "create", "update", "patch", "delete", "deletecollection", "impersonate"),
)
WRITE: tuple[Verb, ...] = ("create", "update", "patch", "delete", "deletecollection")
API = "rbac.authorization.k8s.io/v1"


@click.command(
    epilog="""\b
Examples:
  sealoop rbac --lease-namespace flux-system | kubectl apply --server-side -f -
  sealoop rbac --users | kubectl apply --server-side -f -
  sealoop rbac --table docs/operations.md --check"""
)
@click.option("--lease-namespace", metavar="NAME", default="sealoop-system", show_default=True)
@click.option(
    "--users", is_flag=True, help="Print what the cluster's roles view, edit and admin get of our kinds instead."
)
@click.option(
    "--table",
    "document",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    metavar="FILE",
    help="Write the table into this document instead.",
)
@click.option("--check", is_flag=True, help="With --table, write nothing; fail when it is not what would be written.")
def rbac(lease_namespace: str, users: bool, document: Path | None, check: bool) -> None:
    """Print the roles that the service needs: bind them to its service account."""
    from sealoop.wiring import COMPONENTS, KINDS

    if users:
        click.echo(_print(make_user_roles(KINDS)), nl=False)
        return
    needed = [*list_permissions(KINDS), *(p for component in COMPONENTS for p in component.permissions)]
    applied = [p for component in COMPONENTS for p in component.applies]
    if document is None:
        click.echo(_print(make_roles(needed, applied, lease_namespace)), nl=False)
        return
    present = document.read_text(encoding="utf-8")
    wanted = insert_table(document, present, "rbac", write_table(needed, applied))
    if check and present != wanted:
        raise click.ClickException(f"{document}: the table is out of date; run `sealoop rbac --table {document}`")
    if not check:
        document.write_text(wanted, encoding="utf-8")
        click.echo(f"{document}: {'changed' if present != wanted else 'as it was'}")


def make_roles(needed: Iterable[Permission], applied: Iterable[Permission], lease_namespace: str) -> list[Manifest]:
    """Make the roles, without bindings."""
    grants = merge(needed)
    return [
        _make_role("ClusterRole", {"name": "sealoop"}, (grant for grant in grants if grant.place == "cluster")),
        _make_role(
            "Role", {"name": "sealoop", "namespace": lease_namespace}, (g for g in grants if g.place == "lease")
        ),
        _make_role("ClusterRole", {"name": "sealoop-applier"}, merge(applied)),
    ]


def make_user_roles(kinds: Iterable[type[Resource]]) -> list[Manifest]:
    """Make the roles that the API server adds to its own: who may edit a namespace may edit our kinds there."""
    kinds = tuple(kinds)
    granted: tuple[tuple[str, tuple[Verb, ...], tuple[str, ...]], ...] = (
        ("view", READ, ("view", "edit", "admin")),
        ("edit", WRITE, ("edit", "admin")),
    )
    return [
        _make_role(
            "ClusterRole",
            {
                "name": f"sealoop-{name}",
                "labels": {f"rbac.authorization.k8s.io/aggregate-to-{to}": "true" for to in added},
            },
            (Permission(kind.KIND.group, kind.PLURAL, verbs, "") for kind in kinds),
        )
        for name, verbs, added in granted
    ]


def write_table(needed: Iterable[Permission], applied: Iterable[Permission]) -> str:
    """Write the table in Markdown: one row for what is granted alike, and for the same reasons."""
    rows: dict[tuple[str, str, str], list[str]] = {}
    for owner, permissions in (("the service", needed), ("what it applies for you", applied)):
        for grant in merge(permissions):
            place = owner if grant.place == "cluster" else f"{owner}, in the Lease's namespace"
            named = "everything" if grant.resource == "*" else grant.resource
            rows.setdefault((place, ", ".join(grant.verbs), grant.why), []).append(named)
    lines = ((place, ", ".join(names), verbs, why) for (place, verbs, why), names in rows.items())
    return write_markdown(("for", "resources", "verbs", "why"), lines)


def merge(permissions: Iterable[Permission]) -> list[Permission]:
    """Merge permissions: one for each resource, with all verbs and reasons, in the order in which they first come."""
    found: dict[tuple[str, str, str], list[Permission]] = {}
    for permission in permissions:
        found.setdefault((permission.group, permission.resource, permission.place), []).append(permission)
    return [
        of_one[0]._replace(
            verbs=tuple(sorted({verb for p in of_one for verb in p.verbs}, key=ORDER.index)),
            why="; ".join(dict.fromkeys(p.why for p in of_one)),
        )
        for of_one in found.values()
    ]


def _make_role(kind: str, metadata: Manifest, grants: Iterable[Permission]) -> Manifest:
    """Make a role whose rules name the resources of one group with the same verbs together."""
    together: dict[tuple[str, tuple[Verb, ...]], list[str]] = {}
    for grant in sorted(grants):
        together.setdefault((grant.group, grant.verbs), []).append(grant.resource)
    rules = [
        {"apiGroups": [group], "resources": resources, "verbs": list(verbs)}
        for (group, verbs), resources in together.items()
    ]
    return {"apiVersion": API, "kind": kind, "metadata": metadata, "rules": rules}


def _print(manifests: list[Manifest]) -> str:
    import yaml

    return "---\n".join(yaml.safe_dump(dict(manifest), sort_keys=False) for manifest in manifests)
