"""What people call kinds and objects, and what they are called back.

ks  kustomizations  Kustomization  kustomizations.kustomize.toolkit.fluxcd.io  ->  one kind
flux-system/...                                                                ->  KIND/NAME
all                                                                            ->  every kind of ours
fluxcd                                                                         ->  every kind of that category
deployment.apps/web                                                            <-  one object
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import click

from gitops_core.errors import BadRequest, GitOpsError, KindUnknown
from gitops_core.meta import Kind, Manifest, ObjectKey, ObjectRef
from gitops_core.ports import ApiResource, Cluster
from sealoop.terminals import make_visible

NAMESPACE = Kind("", "v1", "Namespace")
CRD = Kind("apiextensions.k8s.io", "v1", "CustomResourceDefinition")

INSTALL = "sealoop crds - | kubectl apply --server-side -f -"
"""The command that makes a cluster know our kinds."""

ALL = "all"
"""What all of our kinds are called together."""

_INSTALL = f"install it: {INSTALL}, or on an embedded cluster: sealoop run --local DIR"


class Asked(NamedTuple):
    """Objects of one kind that somebody asked for; no names for all of them."""

    served: ApiResource
    names: tuple[str, ...]


def parse(words: Sequence[str]) -> list[tuple[str, tuple[str, ...]]]:
    """Parse kinds with names as a person wrote them: `KIND NAME...`, `KIND,KIND [NAME...]` or `KIND/NAME...`.

    >>> parse(["ks,gitrepo"]), parse(["ks", "a", "b"]), parse(["ks/a", "gitrepo/a", "ks/b"])
    ([('ks', ()), ('gitrepo', ())], [('ks', ('a', 'b'))], [('ks', ('a', 'b')), ('gitrepo', ('a',))])

    Raises:
        UsageError: the two forms are mixed, or half of one is missing.
    """
    if not any("/" in word for word in words):
        kinds = words[0].split(",") if words else []
        if not all(kinds):
            raise click.UsageError("say which kind: KIND, KIND NAME or KIND/NAME")
        return [(kind, tuple(words[1:])) for kind in dict.fromkeys(kinds)]
    found: dict[str, tuple[str, ...]] = {}
    for word in words:
        kind, slash, name = word.partition("/")
        if not (kind and slash and name) or "/" in name or "," in kind:
            raise click.UsageError(f"{word!r} is not KIND/NAME; say either KIND NAME... or KIND/NAME...")
        found[kind] = (*found.get(kind, ()), name)
    return list(found.items())


async def find_asked(cluster: Cluster, words: Sequence[str]) -> list[Asked]:
    """Find what a person asks for. Raises ClickException: the cluster serves no kind of that name."""
    parsed = parse(words)
    served = await cluster.list_api_resources()
    return [Asked(kind, names) for word, names in parsed for kind in matches(served, word)]


def matches(served: Sequence[ApiResource], word: str) -> list[ApiResource]:
    """Return the kinds that a person calls `word`. Core kinds win over others of the same name, as with kubectl.

    A word is a plural, a kind or a short name, each also with `.group` or `.version.group`; or it is a category, or
    `all` of our kinds, as far as they are served.

    Raises:
        ClickException: no kind is called that.
    """
    if word.lower() == ALL:
        return _list_ours(served)
    name, _, rest = word.lower().partition(".")
    found = [s for s in served if name in {s.plural, s.kind.kind.lower(), *s.short_names} and _fits(s.kind, rest)]
    if found:
        return sorted(found, key=lambda s: s.kind.group != "")[:1]
    if grouped := [s for s in served if word in s.categories]:
        return grouped
    raise click.ClickException(f"the cluster has no kind called {word!r}{_explain_install(name)}")


def _list_ours(served: Sequence[ApiResource]) -> list[ApiResource]:
    """List our kinds, sources before what is made from them. Raises ClickException: none of them is served."""
    from sealoop.wiring import KINDS  # takes a second to import

    by_name = {(one.kind.group, one.kind.kind): one for one in served}
    found = [by_name[name] for kind in KINDS if (name := (kind.KIND.group, kind.KIND.kind)) in by_name]
    if not found:
        raise click.ClickException(f"the cluster has none of Sealoop's kinds; {_INSTALL}")
    return found


def _fits(kind: Kind, rest: str) -> bool:
    return kind.group.startswith(rest) or rest == f"{kind.version}.{kind.group}".rstrip(".")


def _explain_install(name: str) -> str:
    from sealoop.wiring import KINDS  # takes a second to import, and only here does somebody wait for it

    ours = {called for k in KINDS for called in (k.PLURAL, k.KIND.kind.lower(), *k.SHORT_NAMES)}
    return f"; {_INSTALL}" if name in ours else ""


def write_name(kind: Kind, name: str) -> str:
    """Write `deployment.apps/web`, as kubectl's `-o name` and its reports do."""
    return f"{kind.kind.lower()}{'.' if kind.group else ''}{kind.group}/{name}"


async def place(cluster: Cluster, manifest: Manifest, namespace: str, *, demanded: bool = False) -> Manifest:
    """Put `manifest` into `namespace` where its kind has one and it names none.

    Args:
        demanded: a manifest that names another namespace is an error (`-n` was given).

    Raises:
        KindUnknown; BadRequest for another namespace than the one demanded.
    """
    served = await cluster.find_api_resource(Kind.of_manifest(manifest))
    metadata = dict(manifest["metadata"])
    if not served.namespaced:
        return manifest
    metadata["namespace"] = metadata.get("namespace") or namespace
    if demanded and metadata["namespace"] != namespace:
        raise BadRequest(f"{ObjectRef.of(manifest)} is not in the namespace {namespace!r} that -n asks for")
    return {**manifest, "metadata": metadata}


def explain(ref: ObjectRef, error: GitOpsError) -> str:
    """Write the error's sentence, which names the object, for a terminal."""
    from sealoop.wiring import KINDS

    text = str(error)
    if isinstance(error, KindUnknown):
        ours = any(ref.kind == each.KIND for each in KINDS)
        text += f"; {_INSTALL}" if ours else "; install its CustomResourceDefinition first"
    is_named = text.startswith(f"{ref.kind.kind}/") or f'"{ref.key.name}"' in text
    return make_visible(text if is_named else f"{ref}: {text}")


def parse_ref(served: ApiResource, namespace: str, name: str) -> ObjectRef:
    return ObjectRef(served.kind, ObjectKey(namespace if served.namespaced else "", name))
