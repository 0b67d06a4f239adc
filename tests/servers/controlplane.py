"""A real Kubernetes control plane on loopback, one for each test process.

`control_plane` is etcd and kube-apiserver: enough for everything about objects. `workloads` is the same control plane
with kube-controller-manager, kube-scheduler and kwok beside it: Deployments roll out, garbage is collected, namespaces
end. kwok plays the kubelet; Pods whose image ends in `-broken` wait in ImagePullBackOff.

No part is pretended but the container runtime. RBAC is on; nothing of the developer's own kubeconfig is seen.
"""

from __future__ import annotations

import base64
import itertools
import json
import re
import secrets
import ssl
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from http.client import HTTPSConnection
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest

from tests.servers import programs
from tests.servers.certificates import Authority, new_key, write_key, write_public_key
from tests.servers.programs import ROOT, Running

Command = list[str | Path]

ADMINISTRATORS = "system:masters"
ISSUER = "https://kubernetes.default.svc"

_MARK = "/version?mark="

# Everything is logged once it is done, with user agent and user, so that a benchmark can count what it caused.
_AUDIT_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [{"level": "None", "users": ["readiness"]}, {"level": "Metadata"}],
}

_BROKEN_IMAGE = """
apiVersion: kwok.x-k8s.io/v1alpha1
kind: Stage
metadata:
  name: pod-image-broken
spec:
  resourceRef: {apiGroup: v1, kind: Pod}
  selector:
    matchExpressions:
    - {key: .metadata.deletionTimestamp, operator: DoesNotExist}
    - {key: .status.phase, operator: In, values: [Pending]}
    - {key: '.spec.containers[].image | select(test("-broken$"))', operator: Exists}
    - {key: '.status.containerStatuses[].state.waiting.reason', operator: DoesNotExist}
  weight: 1000
  next:
    statusTemplate: |
      {{ $now := Now }}
      conditions:
      - {lastTransitionTime: {{ $now | Quote }}, status: "True", type: Initialized}
      - {lastTransitionTime: {{ $now | Quote }}, status: "False", type: Ready, reason: ContainersNotReady}
      - {lastTransitionTime: {{ $now | Quote }}, status: "False", type: ContainersReady, reason: ContainersNotReady}
      containerStatuses:
      {{ range .spec.containers }}
      - image: {{ .image | Quote }}
        name: {{ .name | Quote }}
        ready: false
        restartCount: 0
        state:
          waiting:
            reason: ImagePullBackOff
            message: {{ printf "Back-off pulling image %q" .image | Quote }}
      {{ end }}
      phase: Pending
      startTime: {{ $now | Quote }}
"""

# The Pod is Pending for as long as its image is broken: the stage that makes Pods ready must not see it.
_NOT_BROKEN = """
    - key: '.spec.containers[].image | select(test("-broken$"))'
      operator: DoesNotExist
"""


class Answer(NamedTuple):
    """What the API server said: the HTTP status code and the decoded JSON (text, where it is none)."""

    status: int
    body: Any


class AuditedRequest(NamedTuple):
    """One request that the API server has answered."""

    user: str
    agent: str
    verb: str
    resource: str
    name: str
    uri: str
    code: int


@dataclass
class ControlPlane:
    """A running API server and the ways in.

    Attributes:
        url: `https://127.0.0.1:PORT`.
        ca: PEM file of the authority that signed the server's certificate (and signs clients').
        token: of user `admin`, who may do everything.
        kubeconfig: a file with one context, `admin`.
        authority: issues client certificates.
    """

    folder: Path
    url: str
    ca: Path
    token: str
    kubeconfig: Path
    authority: Authority
    audit_log: Path
    service_account_key: Path
    started: list[Running] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    _served: dict[str, tuple[str, str]] = field(default_factory=dict)
    _workloads: bool = False
    _crds: bool = False

    @property
    def ca_data(self) -> str:
        """The authority's certificate, as kubeconfigs hold it."""
        return base64.b64encode(self.ca.read_bytes()).decode()

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        token: str | None = None,
        content_type: str = "application/json",
        accept: str = "application/json",
    ) -> Answer:
        """Send one request to the API server, as admin unless `token` is given. No answer is an exception."""
        parts = urlsplit(self.url)
        connection = HTTPSConnection(parts.netloc, timeout=30, context=ssl.create_default_context(cafile=str(self.ca)))
        headers = {
            "Authorization": f"Bearer {self.token if token is None else token}",
            "Content-Type": content_type,
            "Accept": accept,
            "User-Agent": "tests",
        }
        try:
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            response = connection.getresponse()
            text = response.read().decode()
        finally:
            connection.close()
        try:
            return Answer(response.status, json.loads(text))
        except ValueError:
            return Answer(response.status, text)

    def expect(self, method: str, path: str, body: Any = None, *, content_type: str = "application/json") -> Any:
        """Return the body of a request that has to succeed. Raises AssertionError, which shows the server's answer."""
        status, answer = self.call(method, path, body, content_type=content_type)
        assert status < 300, f"{method} {path}: {status} {answer}"
        return answer

    def get(self, what: str, namespace: str) -> Any:
        """Return the object `KIND/NAME` or the list `KIND` of a namespace, as kubectl would find it, or None.

        Without a kubectl process for each look, of which waiting for something needs many.
        """
        word, _, name = what.partition("/")
        if word not in self._served:
            self._served = self._discovered()
        assert word in self._served, f"the API server has no {word!r}"
        base, plural = self._served[word]
        status, body = self.call("GET", f"{base}/namespaces/{namespace}/{plural}{f'/{name}' if name else ''}")
        assert status in (200, 404), f"{what}: {status} {body}"
        return body if status == 200 else None

    def _discovered(self) -> dict[str, tuple[str, str]]:
        """Return each kind's API path and plural by all its names; a name of two is the first's, as in kubectl."""
        found: dict[str, tuple[str, str]] = {}
        accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
        for root in ("/api", "/apis"):
            status, answer = self.call("GET", root, accept=accept)
            assert status == 200, f"GET {root}: {status} {answer}"
            for group in answer["items"]:
                name, version = group["metadata"].get("name", ""), group["versions"][0]
                base = "/".join(filter(None, (root, name, version["version"])))
                for kind in version.get("resources", ()):
                    words = (kind["resource"], kind.get("singularResource", ""), kind["responseKind"]["kind"].lower())
                    for word in words:
                        found.setdefault(word, (base, kind["resource"]))
        return found

    def apply(self, manifest: Mapping[str, Any], path: str) -> Any:
        """Apply one object at its API path by server-side apply, as field manager `tests`."""
        return self.expect(
            "PATCH", f"{path}?fieldManager=tests&force=true", manifest, content_type="application/apply-patch+yaml"
        )

    def kubectl(self, *arguments: str | Path, stdin: str | None = None, kubeconfig: Path | None = None) -> str:
        """Run kubectl and return what it prints. Raises AssertionError with what it complained about."""
        done = subprocess.run(
            [programs.program("kubectl"), *map(str, arguments)],
            env=programs.clean_environment(self.folder, KUBECONFIG=str(kubeconfig or self.kubeconfig)),
            cwd=ROOT,
            input=stdin,
            text=True,
            capture_output=True,
            timeout=60,
        )
        assert done.returncode == 0, f"kubectl {' '.join(map(str, arguments))}: {done.stderr}"
        return done.stdout

    def namespace(self, name: str = "test") -> str:
        """Make a namespace that did not exist before: `<name>-<number>`."""
        fresh = f"{name}-{next(self._numbers)}"
        self.expect("POST", "/api/v1/namespaces", {"metadata": {"name": fresh}})
        return fresh

    def service_account(self, namespace: str, name: str, *, lifetime: int = 3600) -> str:
        """Return the token of a service account, made if there is none. Valid for `lifetime` seconds, at least 600.

        Deleting the service account makes the token worthless within 10 s: the API server caches its checks.
        """
        accounts = f"/api/v1/namespaces/{namespace}/serviceaccounts"
        self.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}}, f"{accounts}/{name}")
        request = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"expirationSeconds": lifetime},
        }
        token = self.expect("POST", f"{accounts}/{name}/token", request)["status"]["token"]
        assert isinstance(token, str)
        return token

    def user(self, name: str, groups: Iterable[str] = ()) -> Path:
        """Write a kubeconfig whose client certificate proves to be `name`, who has no rights yet."""
        pair = self.authority.client(name, groups)
        user = {"client-certificate": str(pair.certificate), "client-key": str(pair.key)}
        return self.write_kubeconfig(f"user-{name.replace('/', '_').replace(':', '_')}", user)

    def grant(
        self,
        user: str,
        verbs: Iterable[str],
        resources: Iterable[str],
        *,
        namespace: str = "",
        groups: Iterable[str] = ("",),
        names: Iterable[str] = (),
    ) -> None:
        """Give a user rights by RBAC: in one namespace, or with namespace "" in the whole cluster."""
        rbac, name = "rbac.authorization.k8s.io", f"granted-{next(self._numbers)}"
        kind = "Role" if namespace else "ClusterRole"
        base = f"/apis/{rbac}/v1" + (f"/namespaces/{namespace}" if namespace else "")
        rule = {"verbs": [*verbs], "resources": [*resources], "apiGroups": [*groups], "resourceNames": [*names]}
        self.apply(
            {"apiVersion": f"{rbac}/v1", "kind": kind, "metadata": {"name": name}, "rules": [rule]},
            f"{base}/{kind.lower()}s/{name}",
        )
        binding = {
            "apiVersion": f"{rbac}/v1",
            "kind": f"{kind}Binding",
            "metadata": {"name": name},
            "roleRef": {"apiGroup": rbac, "kind": kind, "name": name},
            "subjects": [{"apiGroup": rbac, "kind": "User", "name": user}],
        }
        self.apply(binding, f"{base}/{kind.lower()}bindings/{name}")

    def write_kubeconfig(self, name: str, user: Mapping[str, Any], *, namespace: str = "default") -> Path:
        """Write a kubeconfig file of this cluster with one user and one context, both called `name`."""
        path = self.folder / f"{name}.kubeconfig"
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": name,
            "clusters": [{"name": "test", "cluster": {"server": self.url, "certificate-authority": str(self.ca)}}],
            "users": [{"name": name, "user": dict(user)}],
            "contexts": [{"name": name, "context": {"cluster": "test", "user": name, "namespace": namespace}}],
        }
        path.touch(mode=0o600)
        path.write_text(json.dumps(config))
        return path

    def install_crds(self, folder: Path = ROOT / "deploy" / "crds") -> None:
        """Install our CRDs, once: applied, and served when this returns."""
        if self._crds:
            return
        names = re.findall(r"(?m)^  name: (\S+\.\S+)$", "\n".join(f.read_text() for f in sorted(folder.glob("*.yaml"))))
        assert names, f"no CRDs in {folder}: `make generate` writes them"
        self.kubectl("apply", "--server-side", "--force-conflicts", "-f", folder)
        self.kubectl("wait", "--for=condition=Established", "--timeout=180s", *(f"crd/{name}" for name in names))
        self._crds = True

    def start_workloads(self) -> None:
        """Start the controllers, the scheduler and kwok, unless they run."""
        if self._workloads:
            return
        self._workloads = True
        common = f"--kubeconfig={self.kubeconfig}"
        manager: Command = [
            *("kube-controller-manager", common, "--leader-elect=false", "--secure-port=0"),
            f"--service-account-private-key-file={self.service_account_key}",
            "--concurrent-deployment-syncs=2",
            # else each namespace gets a ConfigMap at some moment, in the middle of what a test lists and watches
            "--controllers=*,-root-ca-certificate-publisher-controller",
            "--node-monitor-grace-period=24h",  # nobody renews the node's lease, and its Pods would stop being ready
        ]
        scheduler: Command = ["kube-scheduler", common, "--leader-elect=false", "--secure-port=0"]
        stages = self.folder / "stages.yaml"
        stages.write_text(kwok_stages(ROOT / ".tools" / "bin" / "kwok-stages"))
        kwok: Command = [
            *("kwok", common, "--manage-all-nodes=true", "--cidr=10.9.0.0/16"),
            *("--config", stages, "--server-address", f"127.0.0.1:{programs.free_port()}"),
        ]
        for command in (manager, scheduler, kwok):
            self.started.append(programs.start(command, folder=self.folder))
        self.expect("POST", "/api/v1/nodes", {"metadata": {"name": "node"}})
        self.started[-1].wait_until(self._node_is_ready)
        self.started[-3].wait_until(
            lambda: self.call("GET", "/api/v1/namespaces/default/serviceaccounts/default").status == 200
        )

    def _node_is_ready(self) -> bool:
        node = self.expect("GET", "/api/v1/nodes/node")
        conditions = {c["type"]: c["status"] for c in node["status"].get("conditions", [])}
        return conditions.get("Ready") == "True" and not node["spec"].get("taints")

    # What was asked of it

    def request_totals(self) -> Counter[tuple[str, str]]:
        """Count the requests answered so far by (verb, resource), of all clients, the API server's own among them."""
        totals: Counter[tuple[str, str]] = Counter()
        for line in str(self.expect("GET", "/metrics")).splitlines():
            if line.startswith("apiserver_request_total{"):
                labels = dict(re.findall(r'(\w+)="([^"]*)"', line))
                totals[labels["verb"], labels["resource"]] += int(float(line.rsplit(" ", 1)[1]))
        return totals

    def requests(
        self, *, agent: str = "", user: str = "", since: int = 0, as_itself: bool = False
    ) -> list[AuditedRequest]:
        """Return one client's requests, oldest first: those whose agent begins with `agent`, sent as `user`.

        All that were answered before this was called. A watch is listed when it ends. Impersonated requests carry the
        user who really sent them.

        Args:
            since: what `mark()` returned before.
            as_itself: without those on behalf of somebody else.
        """
        self._until_written()
        found = []
        with self.audit_log.open("rb") as log:
            log.seek(since)
            for line in log:
                event = json.loads(line)
                if event["requestURI"].startswith(_MARK) or (as_itself and "impersonatedUser" in event):
                    continue
                if event.get("userAgent", "").startswith(agent) and user in ("", event["user"]["username"]):
                    found.append(_audited(event))
        return found

    def mark(self) -> int:
        """Return a place in the audit log: `requests(since=...)` tells what came after it."""
        self._until_written()
        return self.audit_log.stat().st_size

    def _until_written(self) -> None:
        """Wait for the log, which is written after the answer: until it has a request of ours that comes now."""
        path, before = f"{_MARK}{next(self._numbers)}", self.audit_log.stat().st_size
        self.expect("GET", path)
        deadline = time.monotonic() + 10
        while path.encode() not in _tail(self.audit_log, before):
            assert time.monotonic() < deadline, "the audit log is not written"
            time.sleep(0.02)

    def stop(self) -> None:
        for running in reversed(self.started):
            running.kill()  # its data ends with it: there is nothing to finish


class RequestCount(NamedTuple):
    """How often one kind of request was made."""

    verb: str
    resource: str
    times: int


def summary(requests: Iterable[AuditedRequest]) -> tuple[RequestCount, ...]:
    """Count what a client asked for, the most frequent first: what a benchmark prints beside its time."""
    counted = Counter((request.verb, request.resource or request.uri.partition("?")[0]) for request in requests)
    return tuple(RequestCount(verb, resource, times) for (verb, resource), times in counted.most_common())


def _tail(file: Path, start: int) -> bytes:
    with file.open("rb") as log:
        log.seek(start)
        return log.read()


def _audited(event: Mapping[str, Any]) -> AuditedRequest:
    target = event.get("objectRef") or {}
    resource = "/".join(filter(None, (target.get("resource"), target.get("subresource"))))
    return AuditedRequest(
        event["user"]["username"],
        event.get("userAgent", ""),
        event["verb"],
        resource,
        target.get("name", ""),
        event["requestURI"],
        event.get("responseStatus", {}).get("code", 0),
    )


def kwok_stages(folder: Path) -> str:
    """Return kwok's own fast stages for nodes and Pods, and ours for images that cannot be pulled."""
    if not folder.is_dir():
        raise programs.ProgramMissing(f"the tests need kwok's stages in {folder}: `make tools` puts them there")
    files = ("node/fast/node-initialize", "pod/fast/pod-ready", "pod/fast/pod-complete", "pod/fast/pod-delete")
    stages = {file: (folder / f"{file}.yaml").read_text() for file in files}
    head, end, tail = stages["pod/fast/pod-ready"].partition("  next:\n")
    stages["pod/fast/pod-ready"] = head + _NOT_BROKEN.lstrip("\n") + end + tail
    return "\n---\n".join([*stages.values(), _BROKEN_IMAGE])


def start_control_plane(folder: Path, *options: str, issuer: str = ISSUER) -> ControlPlane:
    """Start etcd and kube-apiserver; ready in 3-6 s. Raises ProgramMissing or ProgramFailed; then nothing runs.

    Args:
        options: of kube-apiserver, beside those that all have.
        issuer: of its service accounts' tokens.
    """
    authority = Authority.make(folder / "pki")
    etcd_port, port, token = programs.free_port(), programs.free_port(), secrets.token_hex(16)
    plane = ControlPlane(
        folder=folder,
        url=f"https://127.0.0.1:{port}",
        ca=authority.certificate,
        token=token,
        kubeconfig=folder / "admin.kubeconfig",
        authority=authority,
        audit_log=folder / "audit.log",
        service_account_key=folder / "pki" / "service-account.key",
    )
    plane.write_kubeconfig("admin", {"token": token})
    try:
        plane.started.append(_start_etcd(folder, etcd_port))
        plane.started.append(_start_apiserver(plane, etcd_port, port, (f"--service-account-issuer={issuer}", *options)))
    except BaseException:
        plane.stop()
        raise
    return plane


def list_trusting_options(issuer: ControlPlane, audience: str, folder: Path) -> tuple[str, ...]:
    """List the options of a kube-apiserver that takes tokens of another one's service accounts, made for `audience`.

    Who they prove to be is `near:system:serviceaccount:NAMESPACE:NAME` there.
    """
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": "discovery"},
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io",
            "kind": "ClusterRole",
            "name": "system:service-account-issuer-discovery",
        },
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "system:unauthenticated"}],
    }
    issuer.apply(binding, "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/discovery")
    trusted = {
        "url": ISSUER,
        "discoveryURL": f"{issuer.url}/.well-known/openid-configuration",
        "certificateAuthority": issuer.ca.read_text(),
        "audiences": [audience],
    }
    config = {
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "AuthenticationConfiguration",
        "jwt": [{"issuer": trusted, "claimMappings": {"username": {"claim": "sub", "prefix": "near:"}}}],
    }
    (folder / "authentication.json").write_text(json.dumps(config))
    return (f"--authentication-config={folder / 'authentication.json'}",)


def _start_etcd(folder: Path, port: int) -> Running:
    client, peer = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{programs.free_port()}"
    command: Command = [
        *("etcd", "--data-dir", folder / "etcd", "--unsafe-no-fsync", "--log-level=warn", "--name=test"),
        *(f"--listen-client-urls={client}", f"--advertise-client-urls={client}"),
        *(f"--listen-peer-urls={peer}", f"--initial-advertise-peer-urls={peer}", f"--initial-cluster=test={peer}"),
    ]
    etcd = programs.start(command, folder=folder)
    return _ready(etcd, lambda: programs.answers(f"{client}/health"))


def _start_apiserver(plane: ControlPlane, etcd_port: int, port: int, options: Iterable[str]) -> Running:
    folder, serving = plane.folder, plane.authority.server("kubernetes.default.svc")
    signing, key = folder / "pki" / "service-account.pub", new_key()
    write_key(key, plane.service_account_key)
    write_public_key(key, signing)
    tokens = folder / "tokens.csv"
    tokens.touch(mode=0o600)
    tokens.write_text(f'{plane.token},admin,admin,"{ADMINISTRATORS}"\nreadiness-{plane.token},readiness,readiness\n')
    (folder / "audit-policy.json").write_text(json.dumps(_AUDIT_POLICY))
    command: Command = [
        *("kube-apiserver", f"--etcd-servers=http://127.0.0.1:{etcd_port}"),
        *("--bind-address=127.0.0.1", "--advertise-address=127.0.0.1", f"--secure-port={port}"),
        *(f"--tls-cert-file={serving.certificate}", f"--tls-private-key-file={serving.key}"),
        *(f"--client-ca-file={plane.ca}", f"--token-auth-file={tokens}", "--authorization-mode=RBAC"),
        *(f"--service-account-key-file={signing}", f"--service-account-signing-key-file={plane.service_account_key}"),
        *("--service-cluster-ip-range=10.96.0.0/16", "--allow-privileged=true"),
        "--disable-admission-plugins=ServiceAccount",  # Pods without the account that a controller would make
        *(f"--audit-log-path={plane.audit_log}", f"--audit-policy-file={folder / 'audit-policy.json'}"),
        *("--cert-dir", folder / "apiserver", "--endpoint-reconciler-type=none"),
        *options,
    ]
    server = programs.start(command, folder=folder)
    headers = {"Authorization": f"Bearer readiness-{plane.token}"}
    ready = _ready(server, lambda: programs.answers(f"{plane.url}/readyz", ca=plane.ca, headers=headers))
    ready.wait_until(lambda: plane.call("GET", "/api/v1/namespaces/default").status == 200)
    return ready


def _ready(started: Running, ready: Callable[[], bool]) -> Running:
    try:
        started.wait_until(ready)
    except BaseException:
        started.kill()
        raise
    return started


@pytest.fixture(scope="session")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """Yield a real kube-apiserver with etcd, shared by all tests of this process: use a fresh `namespace()`."""
    plane = start_control_plane(tmp_path_factory.mktemp("control-plane"))
    yield plane
    plane.stop()


@pytest.fixture(scope="session")
def workloads(control_plane: ControlPlane) -> ControlPlane:
    """Return the control plane with the controllers, the scheduler and a node on which Pods become ready."""
    control_plane.start_workloads()
    return control_plane
