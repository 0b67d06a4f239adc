"""Flux's pages on tenants, sentence by sentence, on a real API server with RBAC on.

Each test quotes the sentence that it proves. One service runs for all of them, with the flags of the lockdown and as a
service account with the roles that `sealoop rbac` prints, the mighty `sealoop-applier` among them: whatever a tenant is
kept from, the service itself could do. Every tenant is a namespace with the account `deployer`, bound to `admin` there.

Source: https://fluxcd.io/flux/installation/configuration/multitenancy/ and https://fluxcd.io/flux/security/.
Other sentences are proven elsewhere: permissions of the controllers by test_permissions.py, kubeconfigs that would run
a program and a service without rights of its own by test_tenants.py.
"""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from sealoop.embedded.githttp import GitServer, create_repository
from sealoop.main import main
from sealoop.wiring import KINDS
from tests.conformance.stage import Loop, Repository
from tests.journeys.surroundings import Surroundings, config_map, deployment, flux
from tests.journeys.test_permissions import bind, printed_roles
from tests.servers.controlplane import AuditedRequest, ControlPlane
from tests.servers.git import BareRepository
from tests.servers.programs import ROOT, Running, free_port
from tests.servers.registry import RealRegistry

RBAC = "rbac.authorization.k8s.io/v1"
SHARD = {"tests": "multitenancy"}
"""Labels of what the service looks at: others' objects are on the control plane, too."""
SOURCE = {"kind": "GitRepository", "name": "app"}
WHY = "--no-cross-namespace-refs keeps objects from naming those of other namespaces"
TREASURE = "the-treasure-of-the-victim"
OWN = {"kustomizations", "gitrepositories", "receivers", "imagerepositories", "imagepolicies", "imageupdateautomations"}
OWN |= {"ocirepositories", "buckets", "secretstores", "externalsecrets", "updateguards", "events", "leases"}


def ours(group: str, kind: str, name: str, **spec: Any) -> dict[str, Any]:
    """One of our kinds, of the service under test."""
    made = flux(group, kind, name, **spec)
    return made | {"metadata": {"name": name, "labels": SHARD}}


def source(url: str, name: str = "app", **spec: Any) -> dict[str, Any]:
    return ours("source", "GitRepository", name, **{"url": url, "interval": "1h", "ref": {"branch": "main"}, **spec})


def sync(name: str = "app", account: str = "deployer", **spec: Any) -> dict[str, Any]:
    base = {"sourceRef": SOURCE, "path": "./app", "interval": "1h", "prune": True}
    named = {"serviceAccountName": account} if account else {}
    return ours("kustomize", "Kustomization", name, **base | named | spec)


def text(*manifests: Mapping[str, Any]) -> bytes:
    return "\n---\n".join(map(json.dumps, manifests)).encode()


def core(kind: str, name: str, **fields: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name}, **fields}


def role_binding(namespace: str, role: str, account: str = "deployer") -> dict[str, Any]:
    subject = {"kind": "ServiceAccount", "name": account, "namespace": namespace}
    reference = {"apiGroup": RBAC.partition("/")[0], "kind": "ClusterRole", "name": role}
    metadata = {"name": f"{account}-{role}", "namespace": namespace}
    return {
        "apiVersion": RBAC,
        "kind": "RoleBinding",
        "metadata": metadata,
        "roleRef": reference,
        "subjects": [subject],
    }


@dataclass(frozen=True)
class Lockdown:
    """The cluster that tenants share, and the service."""

    plane: ControlPlane
    home: Surroundings
    service: Running
    loop: Loop
    git: GitServer
    hooks: str

    @property
    def user(self) -> str:
        return f"system:serviceaccount:{self.home.namespace}:sealoop"

    def tenant(self, name: str = "tenant", role: str = "admin") -> Tenant:
        namespace = self.plane.namespace(name)
        made = Tenant(self.plane, namespace, self.home.folder, self.home.started, self)
        made.apply(core("ServiceAccount", "deployer"), *([role_binding(namespace, role)] if role else []))
        return made

    def repository(self, namespace: str, files: Mapping[str, bytes]) -> Repository:
        directory = self.home.folder / "git" / f"{namespace}.git"
        self.loop.run(create_repository(directory, {}))
        made = Repository(self.loop, BareRepository(directory), f"{self.git.url}/{namespace}.git")
        made.commit(files)
        return made

    def asked(self, since: int, *, as_itself: bool = False) -> list[AuditedRequest]:
        return self.plane.requests(user=self.user, since=since, as_itself=as_itself)


@dataclass(frozen=True)
class Tenant(Surroundings):
    """A namespace whose account may do there what `role` says, and nothing elsewhere."""

    lockdown: Lockdown | None = None

    def apply(self, *manifests: Mapping[str, Any]) -> None:
        """Server-side apply; without a kubectl process for each."""
        for manifest in manifests:
            self.plane.apply(manifest, f"{self.path_of(manifest)}/{manifest['metadata']['name']}")

    def path_of(self, manifest: Mapping[str, Any]) -> str:
        version, plural = manifest["apiVersion"], f"{manifest['kind'].lower()}s"
        base = "/apis" if "/" in version else "/api"
        where = "" if manifest["kind"].startswith("Cluster") else f"namespaces/{self.namespace}/"
        return f"{base}/{version}/{where}{plural.replace('ys', 'ies')}"

    @property
    def account(self) -> str:
        return f"system:serviceaccount:{self.namespace}:deployer"

    def message(self, what: str) -> str:
        return str(self.condition(what)["message"])

    def until_says(self, what: str, words: str) -> None:
        """Wait until an object is not ready, and says so with these words."""

        def says() -> bool:
            ready = self.condition(what)
            return ready["status"] == "False" and words in f"{ready['reason']}: {ready['message']}"

        self.until(says, f"{what} says {words!r}")

    def begin(self, files: Mapping[str, bytes], **spec: Any) -> Repository:
        """A repository with these files, and its GitRepository."""
        assert self.lockdown is not None
        made = self.lockdown.repository(self.namespace, files)
        self.apply(source(made.url, **spec))
        return made

    def may(self, verb: str, what: str, *more: str) -> bool:
        """Whether the account may do that in this namespace, as the API server answers."""
        group, _, resource = what.rpartition("/")
        plural, _, subresource = resource.partition(":")
        asked = {"namespace": self.namespace, "verb": verb, "group": group, "resource": plural}
        spec = {"user": self.account, "resourceAttributes": asked | {"subresource": subresource}}
        review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec}
        answer = self.plane.expect("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", review)
        return bool(answer["status"]["allowed"])

    def everything_told(self) -> str:
        """All that a tenant sees of what the service wrote: its objects, and the Events about them."""
        kinds = ",".join(sorted(OWN - {"leases"}))
        return self.plane.kubectl("get", kinds, "-n", self.namespace, "-o", "json")


def clear_away(home: Surroundings, selector: str) -> None:
    """Delete all of ours that there is: else the next test's service had it."""

    def listed() -> list[str]:
        found = []
        for kind in KINDS:
            base = f"/apis/{kind.KIND.api_version}"
            for item in home.plane.expect("GET", f"{base}/{kind.PLURAL}?labelSelector={selector}")["items"]:
                found.append(
                    f"{base}/namespaces/{item['metadata']['namespace']}/{kind.PLURAL}/{item['metadata']['name']}"
                )
        return found

    for path in listed():
        home.plane.call("DELETE", path)
    home.until(lambda: not listed(), "all is gone")


@pytest.fixture(scope="module")
def lockdown(workloads: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lockdown]:
    """The service with the flags of Flux's lockdown."""
    workloads.install_crds()
    folder = tmp_path_factory.mktemp("multitenancy")
    home = Surroundings(workloads, workloads.namespace("sealoop"), folder)
    kubeconfig = bind(home, printed_roles(home.namespace))
    users = CliRunner().invoke(main, ["rbac", "--users"])
    assert users.exit_code == 0, users.output
    home.apply(*yaml.safe_load_all(users.output))
    (folder / "git").mkdir()
    loop, git, hooks = Loop(), GitServer(folder / "git"), f"127.0.0.1:{free_port()}"
    selector = ",".join(f"{name}={value}" for name, value in SHARD.items())
    flags = ("--no-cross-namespace-refs=true", "--no-remote-bases=true", "--default-service-account", "default")
    try:
        loop.run(git.start())
        options = ("--kubeconfig", str(kubeconfig), "--watch-label-selector", selector, "--hooks", hooks)
        service = home.service("lockdown", *options, *flags)
        try:
            yield Lockdown(workloads, home, service, loop, git, f"http://{hooks}")
            clear_away(home, selector)
        finally:
            service.stop(60)
            loop.run(git.stop())
    finally:
        loop.close()


@pytest.fixture(scope="module")
def victim(lockdown: Lockdown) -> Tenant:
    """Another tenant, with a secret, a source that works and objects of all kinds that somebody may want to name."""
    made = lockdown.tenant("victim")
    made.begin({"app/a.yaml": config_map("a", at="1")})
    secret = core("Secret", "gold", stringData={"value": TREASURE, "token": TREASURE, "password": TREASURE})
    substitute = {"substitute": {"password": TREASURE}}
    broken = deployment(f"{TREASURE}:1-broken", replicas=1)
    made.apply(secret, core("ConfigMap", "gold", data={"value": TREASURE}), yaml.safe_load(broken))
    made.apply(sync(postBuild=substitute, targetNamespace=made.namespace))
    made.until(lambda: made.ready("kustomization/app"), "the victim's folder is applied")
    return made


# "Flux authorization model"


def test_rbac_specifies_which_operations_are_authorized(lockdown: Lockdown, victim: Tenant) -> None:
    """Flux defers to Kubernetes' native RBAC to specify which operations are authorized when processing its custom
    resources. In a multi-tenant deployment, each tenant needs to be restricted in the operations that can be done on
    their behalf."""
    mine = lockdown.tenant()
    role = {"apiVersion": RBAC, "kind": "ClusterRole", "metadata": {"name": f"{mine.namespace}-all"}, "rules": []}
    theirs = core("ConfigMap", "planted") | {"metadata": {"name": "planted", "namespace": victim.namespace}}
    own = json.loads(config_map("own", at="1"))
    own["metadata"]["namespace"] = mine.namespace
    mine.begin({"app/all.yaml": text(own, role, theirs)})
    mine.apply(sync())

    mine.until(lambda: "(Forbidden)" in mine.message("kustomization/app"), "what the account may not do is refused")

    message = mine.message("kustomization/app")
    assert f'User "{mine.account}" cannot patch resource "clusterroles"' in message
    assert f'User "{mine.account}" cannot patch resource "configmaps"' in message
    assert f'in the namespace "{victim.namespace}"' in message
    assert (victim.get("configmap/planted"), mine.get("configmap/own")) == ({}, {})


def test_the_account_is_impersonated_for_accessing_resources_and_for_applying(lockdown: Lockdown) -> None:
    """Flux controllers can impersonate a service account mentioned in the apply specification [...] for both accessing
    resources and applying configuration."""
    mine, begin = lockdown.tenant(), lockdown.plane.mark()
    kinds = {"configmaps", "deployments", "replicasets", "pods"}
    files = {"app/a.yaml": config_map("a", at="1"), "app/b.yaml": config_map("b", at="1")}
    repository = mine.begin(files | {"app/web.yaml": deployment("web:1")}, interval="1s")
    mine.apply(sync(targetNamespace=mine.namespace, wait=True, interval="1s"))
    mine.until(lambda: mine.ready("kustomization/app"), "it is applied, and healthy")
    mine.plane.kubectl("patch", "configmap/a", "-n", mine.namespace, "-p", '{"data":{"at":"2"}}')
    mine.until(lambda: mine.get("configmap/a")["data"] == {"at": "1"}, "drift is healed")
    repository.commit({"app/b.yaml": None})
    mine.until(lambda: not mine.get("configmap/b"), "what left the folder is pruned")
    mine.plane.kubectl("delete", "kustomization/app", "-n", mine.namespace, "--timeout=60s")

    def within(requests: list[AuditedRequest]) -> list[AuditedRequest]:
        return [r for r in requests if f"/namespaces/{mine.namespace}/" in r.uri and r.resource in kinds]

    assert {"get", "patch", "delete"} <= {r.verb for r in within(lockdown.asked(begin))}
    assert within(lockdown.asked(begin, as_itself=True)) == []


# "Flux user roles"


def test_platform_admins_onboard_tenants_by_registering_their_repositories(lockdown: Lockdown) -> None:
    """The repository(s) owned by the platform admins are reconciled on the cluster(s) by Flux, under the cluster-admin
    Kubernetes cluster role. [...] Extend the Kubernetes API with custom resource definitions [...]. Set up namespaces
    for tenants and define their level of access with Kubernetes RBAC. Onboard tenants by registering their Git
    repositories with Flux. [...] The flux-system Kustomization is set to reconcile under a service account with
    cluster-admin role, allowing platform admins to configure cluster-wide resources and provision the tenant's
    namespaces, service accounts and RBAC.

    And: the repositories owned by tenants are reconciled on the cluster(s) by Flux, under the Kubernetes account(s)
    assigned by platform admins. Deploy workload(s) into their namespace(s) using Flux custom resources.
    """
    platform = lockdown.tenant("platform", role="")
    everything = role_binding(platform.namespace, "cluster-admin") | {"kind": "ClusterRoleBinding"}
    everything["metadata"] = {"name": f"{platform.namespace}-admin"}
    platform.apply(everything)
    team = f"{platform.namespace}-team"
    repository = lockdown.repository(team, {"app/web.yaml": deployment("web:1")})
    group = f"{team}.example.com"
    names = {"kind": "Widget", "plural": "widgets", "singular": "widget", "listKind": "WidgetList"}
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    version = {"name": "v1", "served": True, "storage": True, "schema": schema}
    definition = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"widgets.{group}"},
        "spec": {"group": group, "names": names, "scope": "Namespaced", "versions": [version]},
    }
    inside = {"namespace": team}
    account = core("ServiceAccount", "deployer") | {"metadata": {"name": "deployer"} | inside}
    flux_objects = [source(repository.url), sync(targetNamespace=team, wait=True)]
    for each in flux_objects:
        each["metadata"] |= inside
    onboarding = text(core("Namespace", team), account, role_binding(team, "admin"), *flux_objects)
    platform.begin({"app/crd.yaml": text(definition), "app/team.yaml": onboarding})
    platform.apply(sync(wait=True, interval="1s"))

    platform.until(lambda: platform.ready("kustomization/app"), "the tenant is there, and its folder is applied")

    there = Tenant(platform.plane, team, platform.folder)
    assert there.ready("kustomization/app")
    assert there.get("deployment/web")["metadata"]["labels"]["kustomize.toolkit.fluxcd.io/namespace"] == team
    (last,) = there.get("kustomization/app")["status"]["history"]
    assert last["lastReconciledStatus"] == "ReconciliationSucceeded"


def test_a_tenant_with_a_role_binding_to_admin_manages_our_objects_in_its_namespace(lockdown: Lockdown) -> None:
    """By default, Flux RBAC grants Kubernetes builtin view, edit and admin roles access to Flux custom resources. This
    allows tenants to manage Flux resources in their own namespaces using a Service Account with a role binding to
    admin. And of tenants: register their sources with Flux; set up webhooks using Flux custom resources (Receivers).
    """
    mine, looker = lockdown.tenant(), lockdown.tenant("looker", role="view")
    second = lockdown.repository(f"{mine.namespace}-second", {"app/b.yaml": config_map("b", at="1")})
    hook = ours(
        "notification",
        "Receiver",
        "hook",
        type="generic",
        secretRef={"name": "hook"},
        resources=[{"kind": "GitRepository", "name": "second"}],
    )
    more = source(second.url, "second", interval="1h"), sync("second", sourceRef=SOURCE | {"name": "second"})
    more[1]["spec"]["targetNamespace"] = mine.namespace
    objects = [core("Secret", "hook", stringData={"token": "t"}), *more, hook]
    mine.begin({"app/flux.yaml": text(*objects)})
    mine.apply(sync(targetNamespace=mine.namespace))
    mine.until(lambda: mine.ready("kustomization/second"), "what a folder's own objects name is applied")
    mine.until(lambda: mine.ready("receiver/hook"), "the webhook is served")
    path = mine.get("receiver/hook")["status"]["webhookPath"]
    second.commit({"app/c.yaml": config_map("c", at="2")})
    with urllib.request.urlopen(f"{lockdown.hooks}{path}", b"{}") as answer:
        assert answer.status == 200
    mine.until(lambda: mine.get("configmap/c"), "the webhook wakes the source")

    plurals = ("kustomize.toolkit.fluxcd.io/kustomizations", "external-secrets.io/externalsecrets")
    for plural in (*plurals, "source.toolkit.fluxcd.io/buckets", "sealoop.dev/updateguards"):
        assert [mine.may(verb, plural) for verb in ("get", "create", "delete")] == [True] * 3
        assert [looker.may(verb, plural) for verb in ("get", "create", "delete")] == [True, False, False]
        assert not mine.may("patch", f"{plural}:status")  # what the service says is not for tenants to write


def test_tenants_automate_application_updates(lockdown: Lockdown, open_registry: RealRegistry) -> None:
    """Automate application updates using Flux custom resources (ImageRepositories, ImagePolicies and
    ImageUpdateAutomations)."""
    mine = lockdown.tenant()
    image = f"{open_registry.host}/{mine.namespace}/web"
    open_registry.push(f"{mine.namespace}/web", "1.0.0")
    open_registry.push(f"{mine.namespace}/web", "1.1.0")
    marked = deployment(f"{image}:1.0.0", marker=f'{{"$imagepolicy": "{mine.namespace}:web"}}')
    author = {"commit": {"author": {"name": "bot", "email": "bot@example.com"}}}
    policy = {"semver": {"range": ">=1"}}
    automation = {"sourceRef": SOURCE, "interval": "1s", "git": author, "update": {"path": "app"}}
    images = [
        ours("image", "ImageRepository", "web", image=image, interval="1s", insecure=True),
        ours("image", "ImagePolicy", "web", imageRepositoryRef={"name": "web"}, policy=policy),
        ours("image", "ImageUpdateAutomation", "web", **automation),
    ]
    mine.begin({"app/web.yaml": marked, "app/images.yaml": text(*images)})  # a push wakes the source
    mine.apply(sync(targetNamespace=mine.namespace))

    mine.until(lambda: f"{image}:1.1.0" in json.dumps(mine.get("deployment/web")), "the new tag is applied")


# "How to configure Flux multi-tenancy": nobody names what is another tenant's


def _expression(victim: str) -> dict[str, Any]:
    expression = "dep.spec.postBuild.substitute['password'].startsWith('the-')"
    return sync(dependsOn=[{"name": "app", "namespace": victim, "readyExpr": expression}])


def _automation(victim: str) -> dict[str, Any]:
    git = {"commit": {"author": {"name": "bot", "email": "bot@example.com"}}}
    named = SOURCE | {"namespace": victim}
    return ours("image", "ImageUpdateAutomation", "app", sourceRef=named, interval="1h", git=git)


def _policy(victim: str) -> dict[str, Any]:
    reference, policy = {"name": "app", "namespace": victim}, {"semver": {"range": "*"}}
    return ours("image", "ImagePolicy", "app", imageRepositoryRef=reference, policy=policy)


def _receiver(victim: str, **named: Any) -> dict[str, Any]:
    resources = [{"kind": "GitRepository", "name": "app", "namespace": victim, **named}]
    secret = {"name": "hook"}
    return ours("notification", "Receiver", "app", type="generic", secretRef=secret, resources=resources)


def _sourced(kind: str, victim: str) -> dict[str, Any]:
    made = sync()
    made["spec"]["sourceRef"] = {"kind": kind, "name": "app", "namespace": victim}
    return made


NAMING: dict[str, Callable[[str], dict[str, Any]]] = {
    "sourceRef of a Kustomization": lambda victim: _sourced("GitRepository", victim),
    "sourceRef of a Kustomization, OCI": lambda victim: _sourced("OCIRepository", victim),
    "sourceRef of a Kustomization, Bucket": lambda victim: _sourced("Bucket", victim),
    "dependsOn of a Kustomization, with readyExpr": _expression,
    "sourceRef of an ImageUpdateAutomation": _automation,
    "imageRepositoryRef of an ImagePolicy": _policy,
    "resources of a Receiver": _receiver,
    "resources of a Receiver, all": lambda victim: _receiver(victim, name="*", matchLabels=SHARD),
}


@pytest.mark.parametrize("case", NAMING)
def test_cross_namespace_access_to_flux_custom_resources_is_denied(
    case: str, lockdown: Lockdown, victim: Tenant
) -> None:
    """Deny cross-namespace access to Flux custom resources, thus ensuring that a tenant can't use another tenant's
    sources or subscribe to their events."""
    mine = lockdown.tenant()
    mine.begin({"app/a.yaml": config_map("a", at="1")})
    mine.apply(core("Secret", "hook", stringData={"token": "t"}))
    wanted = NAMING[case](victim.namespace)
    mine.apply(wanted)
    what = f"{wanted['kind'].lower()}/app"

    mine.until(lambda: mine.condition(what)["reason"] == "AccessDenied", "it is refused")

    assert mine.condition(what, "Stalled")["status"] == "True"
    assert mine.message(what).endswith(WHY)
    assert mine.message(what).startswith(f"{wanted['kind']}/{mine.namespace}/app may not name ")
    assert TREASURE not in mine.everything_told()


NAMES = {
    "ImagePolicy spec.imageRepositoryRef.namespace": "refused",
    "ImageUpdateAutomation spec.sourceRef.namespace": "refused",
    "Kustomization spec.sourceRef.namespace": "refused",
    "Kustomization spec.dependsOn[].namespace": "told whether it is ready, as by Flux; with readyExpr refused",
    "Receiver spec.resources[].namespace": "refused",
    "UpdateGuard spec.promotion.policyRef.namespace": "refused, by tests/image_updater/test_tenancy.py",
    "Kustomization spec.healthChecks[].namespace": "read with the rights of the account",
    "Kustomization spec.targetNamespace": "written with the rights of the account",
    "Kustomization spec.ignore[].target.namespace": "selects among what is applied",
    "Kustomization spec.patches[].target.namespace": "selects among what is applied",
    "SecretStore spec.provider.vault.namespace": "of Vault",
    "SecretStore spec.provider.vault.auth.namespace": "of Vault",
}
"""Every field of our kinds that names a namespace, and what becomes of it. Those of a SecretStore's credentials are
refused by the store, which is a test of its own."""


def _list_namespace_fields(schema: Mapping[str, Any], path: str) -> Iterator[str]:
    for name, each in (schema.get("properties") or {}).items():
        if name in ("namespace", "targetNamespace"):
            yield f"{path}.{name}"
        yield from _list_namespace_fields(each, f"{path}.{name}")
    if isinstance(schema.get("items"), dict):
        yield from _list_namespace_fields(schema["items"], f"{path}[]")


def test_every_field_that_can_name_another_namespace_is_one_of_those_above() -> None:
    """The same sentence, for the fields that come: a new one is denied, or has a reason here."""
    found = set()
    for file in (ROOT / "deploy" / "crds").glob("*.yaml"):
        for definition in yaml.safe_load_all(file.read_text()):
            for version in definition["spec"]["versions"]:
                spec = version["schema"]["openAPIV3Schema"]["properties"]["spec"]
                found |= set(_list_namespace_fields(spec, f"{definition['spec']['names']['kind']} spec"))

    credentials = {path for path in found if path.startswith("SecretStore spec.provider.") and path not in NAMES}

    assert found - credentials == set(NAMES)
    assert all(path.rpartition(".")[0].endswith(("Ref", "SecretRef", "Cert", "caProvider")) for path in credentials)


def store(name: str, **vault: Any) -> dict[str, Any]:
    provider = {"vault": {"server": "http://127.0.0.1:1", "path": "secret", **vault}}
    return ours("", "SecretStore", name, provider=provider) | {"apiVersion": "external-secrets.io/v1"}


def test_a_store_reads_credentials_of_no_other_namespace(lockdown: Lockdown, victim: Tenant) -> None:
    """The same sentence, for SecretStores and ExternalSecrets."""
    mine, begin = lockdown.tenant(), lockdown.plane.mark()
    theirs = {"name": "gold", "namespace": victim.namespace}
    token = {"tokenSecretRef": theirs | {"key": "token"}}
    authority = {"auth": {"tokenSecretRef": {"name": "t", "key": "token"}}, "caProvider": theirs | {"type": "Secret"}}
    mine.apply(core("Secret", "t", stringData={"token": "t"}))
    mine.apply(store("token", auth=token), store("authority", **authority))
    external = ours("", "ExternalSecret", "gold", secretStoreRef={"name": "gold", "kind": "ClusterSecretStore"})
    mine.apply(external | {"apiVersion": "external-secrets.io/v1"})

    for name in ("token", "authority"):
        what = f"secretstore/{name}"
        mine.until_says(what, "a SecretStore names objects of its own namespace")
    mine.until(lambda: mine.condition("externalsecret/gold")["status"] == "False", "there is no such store")

    assert [r for r in lockdown.asked(begin) if f"/namespaces/{victim.namespace}/secrets" in r.uri] == []
    assert TREASURE not in mine.everything_told()


def test_no_name_is_a_way_into_another_namespace(lockdown: Lockdown, victim: Tenant) -> None:
    """The same sentence, for all that is named without a namespace: its name is no path of the API server's."""
    mine, begin = lockdown.tenant(), lockdown.plane.mark()
    up = f"../../{victim.namespace}/secrets/gold"
    there = {"name": up}
    registry = {"image": "127.0.0.1:1/a", "url": "oci://127.0.0.1:1/a", "interval": "1h", "secretRef": there}
    bucket = {"bucketName": "b", "endpoint": "127.0.0.1:1", "interval": "1h", "secretRef": there}
    cosign = {"provider": "cosign", "secretRef": there}
    oci = {name: registry[name] for name in ("url", "interval", "secretRef")}
    image = {name: registry[name] for name in ("image", "interval", "secretRef")}
    mine.begin({"app/a.yaml": config_map("a", at="1")})
    substitute = [{"kind": kind, "name": up} for kind in ("Secret", "ConfigMap")]
    objects = [
        source("https://127.0.0.1:1/a", "s", secretRef=there),
        source("https://127.0.0.1:1/a", "s-proxy", proxySecretRef=there),
        source("https://127.0.0.1:1/a", "s-verify", verify={"mode": "HEAD", "secretRef": there}),
        source("https://127.0.0.1:1/a", "s-include", include=[{"repository": {"name": "../app"}}]),
        ours("source", "OCIRepository", "o", **oci),
        ours("source", "OCIRepository", "o-cert", url=oci["url"], interval="1h", certSecretRef=there),
        ours("source", "OCIRepository", "o-account", url=oci["url"], interval="1h", serviceAccountName=up),
        ours("source", "OCIRepository", "o-verify", url=oci["url"], interval="1h", verify=cosign),
        ours("source", "Bucket", "b", **bucket),
        sync("k-variables", postBuild={"substituteFrom": substitute}),
        sync("k-cluster", kubeConfig={"secretRef": there}),
        sync("k-keys", decryption={"provider": "sops", "secretRef": there}),
        sync("k-account", account=up),
        ours("notification", "Receiver", "r", type="generic", secretRef=there, resources=[SOURCE]),
        ours("image", "ImageRepository", "i", **image),
        store("st", auth={"tokenSecretRef": {"name": up, "key": "token"}}),
    ]
    for each in objects:
        _create_anyhow(mine, each)
    names = [f"{each['kind'].lower()}/{each['metadata']['name']}" for each in objects]

    for what in filter(mine.get, names):
        mine.until_says(what, "")

    assert [r for r in lockdown.asked(begin) if "gold" in r.uri and victim.namespace in r.uri] == []
    assert TREASURE not in mine.everything_told()


def _create_anyhow(tenant: Tenant, manifest: Mapping[str, Any]) -> None:
    """Create what the API server takes of it: a name that it refuses by itself leads nowhere either."""
    status, answer = tenant.plane.call("POST", tenant.path_of(manifest), manifest)
    assert status in (201, 422), answer


def test_a_namespace_beside_a_name_that_has_none_is_not_heard(lockdown: Lockdown, victim: Tenant) -> None:
    """The same sentence: where Flux has no field for a namespace, writing one changes nothing."""
    mine = lockdown.tenant()
    mine.begin({"app/a.yaml": config_map("a", at="1")})
    theirs = {"name": "gold", "namespace": victim.namespace}
    made = [
        sync("variables", postBuild={"substituteFrom": [{"kind": "Secret", **theirs}]}),
        sync("cluster", kubeConfig={"secretRef": theirs}),
        sync("keys", decryption={"provider": "sops", "secretRef": theirs}),
        source("https://127.0.0.1:1/a", "secret", secretRef=theirs),
    ]
    for each in made:
        _create_anyhow(mine, each)

    for each in made:
        what = f"{each['kind'].lower()}/{each['metadata']['name']}"
        assert victim.namespace not in json.dumps(mine.get(what)["spec"])
        mine.until_says(what, "")
        assert victim.namespace not in mine.message(what)
    assert TREASURE not in mine.everything_told()


def test_remote_bases_are_denied(lockdown: Lockdown) -> None:
    """Deny accesses to Kustomize remote bases, thus ensuring all resources refer to local files, meaning only the Flux
    Sources can affect the cluster-state."""
    mine = lockdown.tenant()
    bases = lockdown.repository(f"{mine.namespace}-bases", {"app/b.yaml": config_map("b", at="1")})
    remote = f"{bases.url}//app?ref=main"
    files = {
        "resources": text({"resources": [remote]}),
        "components": text({"components": [remote]}),
        "file": text({"resources": [f"{bases.url}/info/refs"]}),
        "patch": text({"resources": ["a.yaml"], "patches": [{"path": remote}]}),
        "outside": text({"resources": ["/etc/passwd"]}),
        "generated": text({"configMapGenerator": [{"name": "g", "files": [remote]}]}),
    }
    tree = {f"{name}/kustomization.yaml": content for name, content in files.items()}
    mine.begin(tree | {"patch/a.yaml": config_map("a", at="1")})
    for name in files:
        mine.apply(sync(name, path=f"./{name}"))
    mine.apply(sync("spec", path="./patch", components=[remote]))

    for name in (*files, "spec"):
        mine.until_says(f"kustomization/{name}", "BuildFailed: ")
    assert [path for _, path in lockdown.git.requests if f"{mine.namespace}-bases" in path] == []
    assert mine.get("configmap/b") == {}


def test_who_names_no_account_has_the_rights_of_default(lockdown: Lockdown) -> None:
    """All Kustomizations which don't have spec.serviceAccountName specified, will use the default account from the
    tenant's namespace. Tenants have to specify a service account in their Flux resources to be able to deploy workloads
    in their namespaces as the default account has no permissions."""
    mine = lockdown.tenant()
    mine.begin({"app/a.yaml": config_map("a", at="1")})
    mine.apply(sync("nameless", account="", targetNamespace=mine.namespace, retryInterval="1s"))
    user = f"system:serviceaccount:{mine.namespace}:default"
    mine.until(lambda: f'User "{user}" cannot ' in mine.message("kustomization/nameless"), "default may do nothing")
    assert mine.get("configmap/a") == {}

    mine.apply(sync("named", targetNamespace=mine.namespace))
    mine.until(lambda: mine.ready("kustomization/named"), "who names an account has its rights")
    mine.apply(role_binding(mine.namespace, "admin", "default"))
    mine.until(lambda: mine.ready("kustomization/nameless"), "rights are what is bound to default")


# "Controller permissions", "Security Best Practices"


def test_without_a_binding_for_the_account_and_the_namespace_it_fails(lockdown: Lockdown, victim: Tenant) -> None:
    """The Flux controllers will use the Kubernetes Impersonation API [...] to impersonate that service account. In this
    way, policy restrictions for this service account are applied to the manifests being reconciled. If the binding is
    not defined for the correct service account and namespace, it will fail."""
    mine = lockdown.tenant(role="")
    mine.begin({"app/a.yaml": config_map("a", at="1")})
    mine.apply(sync("unbound", targetNamespace=mine.namespace))
    mine.apply(sync("elsewhere", targetNamespace=victim.namespace))
    mine.apply(sync("unknown", account="nobody", targetNamespace=mine.namespace))
    mine.apply(sync("foreign", account=f"{victim.namespace}:deployer", targetNamespace=victim.namespace))

    for name in ("unbound", "elsewhere"):
        mine.until_says(f"kustomization/{name}", f'User "{mine.account}" cannot ')
    mine.until(lambda: ':nobody" cannot ' in mine.message("kustomization/unknown"), "nor to who is not there")
    mine.until(lambda: mine.condition("kustomization/foreign")["reason"] == "InvalidServiceAccount", "nor from here")
    assert victim.get("configmap/a")["metadata"]["labels"]["kustomize.toolkit.fluxcd.io/namespace"] == victim.namespace


# what no page says, and everybody expects: what an account may not read is not shown


def test_health_of_what_the_account_may_not_read_is_not_told(lockdown: Lockdown, victim: Tenant) -> None:
    mine = lockdown.tenant()
    mine.begin({"app/a.yaml": config_map("a", at="1")})
    checks = [
        {"apiVersion": version, "kind": kind, "name": name, "namespace": victim.namespace}
        for version, kind, name in (("apps/v1", "Deployment", "web"), ("v1", "Secret", "gold"))
    ]
    kustomization = {"apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization"}
    checks.append(kustomization | {"name": "app", "namespace": victim.namespace})
    expression = {"apiVersion": "v1", "kind": "Secret", "current": "data.value.startsWith('d')", "failed": "true"}
    here = {"targetNamespace": mine.namespace}
    for number, check in enumerate(checks):
        mine.apply(sync(f"spy-{number}", healthChecks=[check], healthCheckExprs=[expression], timeout="2s", **here))

    for number, check in enumerate(checks):
        what = f"kustomization/spy-{number}"
        mine.until_says(what, f'User "{mine.account}" cannot get resource')
        absent = sync(f"absent-{number}", healthChecks=[check | {"name": "absent"}], timeout="2s", **here)
        mine.apply(absent)
        mine.until_says(f"kustomization/absent-{number}", "cannot get resource")
    told = mine.everything_told()
    assert (TREASURE in told, "ImagePullBackOff" in told) == (False, False)


def test_the_cause_of_a_failing_rollout_is_told_to_who_may_list_its_pods(lockdown: Lockdown) -> None:
    mine = lockdown.tenant(role="")
    mine.plane.grant(mine.account, ["*"], ["deployments"], namespace=mine.namespace, groups=["apps"])
    failing = deployment("web:1-broken").replace(b"spec:", b"spec:\n  progressDeadlineSeconds: 1", 1)
    mine.begin({"app/web.yaml": failing})
    mine.apply(sync(targetNamespace=mine.namespace, wait=True, retryInterval="1s"))
    mine.until(lambda: "stalled resources" in mine.message("kustomization/app"), "the rollout fails")
    assert "ImagePullBackOff" not in mine.everything_told()

    mine.plane.grant(mine.account, ["list"], ["pods"], namespace=mine.namespace)
    mine.until(lambda: "ImagePullBackOff" in mine.message("kustomization/app"), "the cause is told")


def test_a_secret_that_the_account_may_not_read_is_neither_compared_nor_told(
    lockdown: Lockdown, victim: Tenant
) -> None:
    mine = lockdown.tenant(role="")
    mine.plane.grant(mine.account, ["get", "create", "patch"], ["configmaps"], namespace=mine.namespace)
    mine.apply(core("Secret", "gold", stringData={"value": TREASURE}))
    guess = core("Secret", "gold", stringData={"value": TREASURE})
    theirs = guess | {"metadata": {"name": "gold", "namespace": victim.namespace}}
    mine.begin({"own/s.yaml": text(guess), "theirs/s.yaml": text(theirs)})
    mine.apply(sync("own", path="./own", targetNamespace=mine.namespace), sync("theirs", path="./theirs"))

    for name in ("own", "theirs"):
        mine.until_says(f"kustomization/{name}", "(Forbidden)")
        assert f'User "{mine.account}" cannot ' in mine.message(f"kustomization/{name}")
    assert TREASURE not in mine.everything_told()


def test_a_plan_asks_with_the_rights_of_whoever_asks(lockdown: Lockdown, victim: Tenant, tmp_path: Path) -> None:
    mine = lockdown.tenant()
    token = mine.plane.service_account(mine.namespace, "deployer")
    kubeconfig = mine.plane.write_kubeconfig(mine.namespace, {"token": token}, namespace=mine.namespace)
    theirs = core("ConfigMap", "gold", data={"value": "guess"})
    theirs["metadata"]["namespace"] = victim.namespace
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "a.yaml").write_bytes(text(theirs))
    mine.begin({"app/a.yaml": text(theirs)})
    mine.apply(sync())

    options = ["plan", "ks/app", "-n", mine.namespace, "--kubeconfig", str(kubeconfig), "--checkout", str(tmp_path)]
    planned = CliRunner().invoke(main, options)

    assert planned.exit_code != 0
    assert f'User "{mine.account}" cannot get resource "configmaps"' in planned.output
    assert TREASURE not in planned.output


def test_a_forged_status_makes_nobody_else_warn_or_fail(lockdown: Lockdown, victim: Tenant) -> None:
    """What a tenant writes into the status of a Kustomization of its own (who may) is believed of that one at most."""
    mine = lockdown.tenant()
    mine.begin({"app/a.yaml": config_map("mine", at="1")})
    mine.apply(sync(targetNamespace=mine.namespace))
    mine.until(lambda: mine.ready("kustomization/app"), "the tenant's own folder is applied")
    claimed = {"id": f"{victim.namespace}_a__ConfigMap", "v": "v1"}
    before = mine.get("kustomization/app")["status"]["inventory"]["entries"]

    def store(*entries: Any) -> None:
        patch = json.dumps({"status": {"inventory": {"entries": entries}}})
        options = ("--subresource=status", "--type=merge", "-p", patch)
        mine.plane.kubectl("patch", "kustomization/app", "-n", mine.namespace, *options)

    store(*before, claimed)
    asked = victim.plane.kubectl("get", "kustomization/app", "-n", victim.namespace, "-o", "jsonpath={.metadata.uid}")
    now = f"reconcile.fluxcd.io/requestedAt={asked}"
    victim.plane.kubectl("annotate", "--overwrite", "kustomization/app", "-n", victim.namespace, now)
    victim.until(
        lambda: victim.get("kustomization/app")["status"].get("lastHandledReconcileAt") == asked, "it is looked at"
    )

    assert victim.condition("kustomization/app", "Contested")["status"] == ""
    assert victim.ready("kustomization/app")
    store(*before)  # so that its deletion does not wait for what it may not delete
