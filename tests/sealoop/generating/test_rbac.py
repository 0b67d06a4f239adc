"""`sealoop rbac`: the roles are what the packages declare, and the table in the documentation is up to date.

That the service can work with them is shown by tests/journeys/test_permissions.py.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from gitops_core.runtime.permissions import Permission
from image_updater.component import WORKLOADS
from image_updater.domain.guards import workloads
from sealoop.generating.rbac import BEGIN, END, make_roles, merge, write_table
from sealoop.main import main
from sealoop.wiring import KINDS

DOCUMENT = Path(__file__).parents[3] / "docs" / "operations.md"


def called(*words: str | Path) -> Result:
    return CliRunner().invoke(main, ["rbac", *map(str, words)])


def test_the_table_in_the_documentation_is_up_to_date() -> None:
    assert called("--table", DOCUMENT, "--check").exit_code == 0


def test_a_check_names_what_is_stale_and_writes_nothing(tmp_path: Path) -> None:
    document = tmp_path / "page.md"
    document.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")

    checked = called("--table", document, "--check")
    written = called("--table", document)

    assert checked.exit_code == 1
    assert f"the table is out of date; run `sealoop rbac --table {document}`" in checked.output
    assert written.output == f"{document}: changed\n"
    text = document.read_text()
    assert (text.startswith(f"before\n{BEGIN}\n| for |"), text.endswith(f"|\n{END}\nafter\n")) == (True, True)
    assert called("--table", document, "--check").exit_code == 0


def test_a_document_without_a_place_for_it_is_one_sentence(tmp_path: Path) -> None:
    document = tmp_path / "page.md"
    document.write_text(f"{BEGIN}\n")

    refused = called("--table", document)

    assert refused.exit_code == 1
    assert refused.output.startswith(f"Error: {document}: no lines ")


def rules(role: dict[str, Any]) -> dict[tuple[str, str], set[str]]:
    """The verbs on each (group, resource)."""
    found: dict[tuple[str, str], set[str]] = {}
    for rule in role["rules"]:
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                found.setdefault((group, resource), set()).update(rule["verbs"])
    return found


def test_the_printed_roles_name_every_kind_and_the_leases_namespace() -> None:
    service, lease, applier = yaml.safe_load_all(called("--lease-namespace", "flux-system").output)

    assert (service["kind"], lease["kind"], applier["kind"]) == ("ClusterRole", "Role", "ClusterRole")
    assert lease["metadata"] == {"name": "sealoop", "namespace": "flux-system"}
    assert rules(lease) == {("coordination.k8s.io", "leases"): {"get", "create", "update"}}
    granted = rules(service)
    for kind in KINDS:
        assert {"get", "list", "watch"} <= granted[kind.KIND.group, kind.PLURAL]
        assert granted[kind.KIND.group, f"{kind.PLURAL}/status"] == {"patch"}
    assert "update" in granted["", "secrets"]
    assert ("coordination.k8s.io", "leases") not in granted
    assert rules(applier) == {("*", "*"): {"get", "list", "watch", "create", "patch", "delete"}}


@pytest.mark.parametrize("resource", ["secrets", "configmaps", "pods", "deployments", "roles", "*"])
def test_the_service_itself_is_no_administrator(resource: str) -> None:
    """It may not write what it does not make: that is the applier's, which is bound where it should reach."""
    service = next(yaml.safe_load_all(called().output))

    verbs = {verb for (_, name), verbs in rules(service).items() if name == resource for verb in verbs}

    allowed = {"secrets": {"create", "update", "delete"}, "configmaps": {"create", "patch"}}.get(resource, set())
    assert verbs - {"get", "list", "watch"} == allowed


def test_the_clusters_own_roles_get_our_kinds_but_no_statuses() -> None:
    """As Flux's flux-view and flux-edit, which give the statuses away too."""
    view, edit = yaml.safe_load_all(called("--users").output)

    prefix = "rbac.authorization.k8s.io/aggregate-to-"
    assert view["metadata"]["labels"] == {f"{prefix}{role}": "true" for role in ("view", "edit", "admin")}
    assert edit["metadata"]["labels"] == {f"{prefix}{role}": "true" for role in ("edit", "admin")}
    kinds = {(kind.KIND.group, kind.PLURAL) for kind in KINDS}
    assert rules(view) == {kind: {"get", "list", "watch"} for kind in kinds}
    assert rules(edit) == {kind: {"create", "update", "patch", "delete", "deletecollection"} for kind in kinds}


def test_every_workload_that_guards_look_at_is_named() -> None:
    def singular(plural: str) -> str:
        return plural.removesuffix("ies") + "y" if plural.endswith("ies") else plural.removesuffix("s")

    assert [(k.group, k.kind.lower()) for k in workloads.KINDS] == [(g, singular(plural)) for g, plural in WORKLOADS]


permissions = st.lists(
    st.builds(
        Permission,
        st.sampled_from(["", "apps"]),
        st.sampled_from(["secrets", "deployments"]),
        st.lists(st.sampled_from(["get", "list", "patch"]), min_size=1, unique=True).map(tuple),
        st.sampled_from(["one", "two"]),
        st.sampled_from(["cluster", "lease"]),
    )
)


@given(permissions)
def test_roles_and_table_grant_what_is_declared_and_nothing_else(declared: list[Permission]) -> None:
    cluster, lease, _ = make_roles(declared, [], "ns")

    for role, place in ((cluster, "cluster"), (lease, "lease")):
        wanted = {(p.group, p.resource, verb) for p in declared if p.place == place for verb in p.verbs}
        assert {(*key, verb) for key, verbs in rules(dict(role)).items() for verb in verbs} == wanted
    rows = write_table(declared, []).splitlines()[2:]
    assert sum(row.split("|")[2].count(",") + 1 for row in rows) == len(merge(declared))
    assert all(any(p.why in row for row in rows) for p in declared)
