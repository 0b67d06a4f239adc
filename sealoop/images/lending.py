"""What a round of image updates is lent by who starts it: a token that may push, and docker's logins.

A token is for one host. It goes nowhere else, never without TLS, and to the automations of the round alone. Its Secret
has a name that no object could have named before.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass

import click
from yarl import URL

from gitops_core.api import GitRepository
from gitops_core.meta import ObjectKey, ObjectRef
from gitops_core.oci.sites import get_host
from gitops_core.ports import Cluster
from gitops_core.runtime.remotes.credentials import SECRET
from gitops_core.runtime.watching.informers import list_objects
from image_updater.api import ImageRepository, ImageUpdateAutomation
from image_updater.reconcilers.sources import WRITE_SECRET, get_source_key

FIELD_MANAGER = "sealoop"


@dataclass(frozen=True)
class Token:
    """What may push.

    Attributes:
        host: where, `git.example.com` or with a port; "" for the one host that the automations push to.
    """

    value: str
    username: str
    host: str = ""


async def lend_token(cluster: Cluster, token: Token) -> None:
    """Give the token to the automations that push to its host.

    Raises:
        ClickException: it is not clear which host that is, or the token would go there in the clear.
    """
    urls = {repository.key: repository.spec.url for repository in await list_objects(cluster, GitRepository)}
    automations = await list_objects(cluster, ImageUpdateAutomation)
    pushed = {key: urls[key] for key in map(get_source_key, automations) if key in urls}
    host = get_token_host(pushed, token.host)
    name = f"sealoop-lent-{secrets.token_hex(8)}"
    for automation in automations:
        if host and _get_server(pushed.get(get_source_key(automation), "")) == host:
            data = {"username": token.username, "password": token.value}
            await _add_secret(cluster, ObjectKey(automation.metadata.namespace, name), "Opaque", data)
            patch = {"metadata": {"annotations": {WRITE_SECRET: name}}}
            await cluster.patch(automation.ref, patch, field_manager=FIELD_MANAGER)


def get_token_host(urls: Mapping[ObjectKey, str], named: str) -> str:
    """Return host and port of a token as `https://host:port`; "" when nothing is pushed over http(s).

    Args:
        urls: of the GitRepositories that are pushed to.
        named: the host that a person named, "" to take the only one.

    Raises:
        ClickException.
    """
    servers = {server for server in map(_get_server, urls.values()) if server}
    if not named and len(servers) > 1:
        shown = ", ".join(sorted(servers))
        raise click.ClickException(
            f"the token is for one host, and the automations push to {shown}: name it with --git-host"
        )
    server = _read_host(named) or next(iter(servers), "")
    for key, url in sorted(urls.items()):
        if _get_server(url).startswith("http://") and get_host(url) == get_host(server):
            cause = f"GitRepository '{key}' is at {_get_server(url)}"
            raise click.ClickException(f"the token does not go over plain http, and {cause}: use https")
    if named and server not in servers:
        raise click.ClickException(f"no automation pushes to {named}, which --git-host names")
    return server


async def lend_logins(cluster: Cluster, docker_config: bytes, namespace: str) -> None:
    """Give docker's logins to the ImageRepositories of `namespace` ("" for all) whose Secret is not there."""
    for repository in await list_objects(cluster, ImageRepository, namespace):
        if repository.spec.secret_ref is None:
            continue
        key = ObjectKey(repository.metadata.namespace, repository.spec.secret_ref.name)
        if await cluster.get(ObjectRef(SECRET, key)) is not None:
            continue
        if repository.spec.insecure:
            click.echo(f"without logins for {repository.ref}: they do not go over plain http (insecure)", err=True)
            continue
        data = {".dockerconfigjson": docker_config.decode()}
        await _add_secret(cluster, key, "kubernetes.io/dockerconfigjson", data)


def _read_host(text: str) -> str:
    """Write what a person named as `https://host:port`. Raises ClickException."""
    if not text:
        return ""
    url = text if "://" in text else f"https://{text}"
    server, rest = _get_server(url), url.partition("://")[2]
    if not server.startswith("https://") or any(character in rest.rstrip("/") for character in "/@?#"):
        raise click.ClickException("--git-host names no host: it has to be like git.example.com or git.example:8443")
    return server


def _get_server(url: str) -> str:
    """Return `https://host:port` of a URL, likewise http; "" for one of another scheme, or that cannot be read."""
    host = get_host(url)
    if not host or URL(url).scheme not in ("http", "https"):
        return ""
    return f"{URL(url).scheme}://{f'[{host}]' if ':' in host else host}:{URL(url).port}"


async def _add_secret(cluster: Cluster, key: ObjectKey, type_: str, data: Mapping[str, str]) -> None:
    metadata = {"name": key.name, "namespace": key.namespace}
    manifest = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": type_, "stringData": dict(data)}
    await cluster.apply(manifest, field_manager=FIELD_MANAGER, force=True)
