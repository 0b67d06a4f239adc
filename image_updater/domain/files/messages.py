"""What a bump's commit says.

The template sees what it sees with the original:

    .AutomationObject   Namespace, Name; printed as namespace/name
    .Changed.FileChanges   file -> object -> changes      .Changed.Objects   object -> changes
    .Changed.Changes       changes, each once             change: OldValue, NewValue, Setter
    .Values                spec.git.commit.messageTemplateValues

and the functions of sprig whose result depends on their arguments alone.

Lists are in the order of files and lines, so the same changes give the same message.

Source: fluxcd/image-automation-controller, internal/source/source.go and internal/update/result.go.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from gitops_core.gotemplate import FieldMissing, GoList, GoMap, Struct, Template, TemplateError
from gitops_core.gotemplate.sprig import HERMETIC
from gitops_core.meta import ObjectKey
from image_updater.domain.files.places import ObjectIdentifier
from image_updater.domain.files.sightings import Change
from image_updater.errors import GitOperationFailed, TemplateFieldRemoved

DEFAULT = "Update from image update automation"

_SEE = "See: https://fluxcd.io/flux/components/image/imageupdateautomations/#message-template"
_REMOVED = {
    (
        "source.TemplateData",
        "Updated",
    ): f"template uses removed '.Updated' field. Please use '.Changed' instead. {_SEE}",
    ("update.Result", "ImageResult"): (
        "template uses removed '.Changed.ImageResult' field. "
        f"Please use '.Changed.FileChanges' or '.Changed.Objects' instead. {_SEE}"
    ),
}


def commit_message(
    template: str,
    automation: ObjectKey,
    changes: Sequence[Change],
    values: Mapping[str, str],
    taken_back: Sequence[str] = (),
) -> str:
    """The message for a commit of `changes`.

    Args:
        taken_back: a sentence for each image that the commit takes back; told where the user has no template.

    Raises:
        TemplateFieldRemoved: the template uses a field of older versions of the API.
        GitOperationFailed: the template is wrong; the message says where.
    """
    if not template and taken_back:
        return "\n".join((DEFAULT, "", *taken_back))
    data = Struct(
        "source.TemplateData",
        (
            ("AutomationObject", _named(automation)),
            ("Changed", _result(changes)),
            ("Values", GoMap(values)),
        ),
    )
    try:
        parsed = Template(template or DEFAULT, HERMETIC, name="commit message")
    except TemplateError as error:
        raise GitOperationFailed(f"unable to create commit message template from spec: {error}") from None
    try:
        return parsed.render(data)
    except FieldMissing as error:
        if removed := _REMOVED.get((error.type_name, error.field)):
            raise TemplateFieldRemoved(removed) from None
        raise GitOperationFailed(f"failed to run template from spec: {error}") from None
    except TemplateError as error:
        raise GitOperationFailed(f"failed to run template from spec: {error}") from None


def push_notice(commit: str, branch: str, message: str, refspec: str = "") -> str:
    """What the event about a push says."""
    second = f" and refspecs '{refspec}'" if refspec else ""
    return f"pushed commit '{commit[:7]}' to branch '{branch}'{second}\n{message}"


def _named(key: ObjectKey) -> Struct:
    fields = (("Namespace", key.namespace), ("Name", key.name))
    return Struct("types.NamespacedName", fields, {"String": f"{key.namespace}/{key.name}"})


def _result(changes: Iterable[Change]) -> Struct:
    files: dict[str, dict[Struct, list[Struct]]] = {}
    objects: dict[Struct, list[Struct]] = {}
    distinct: dict[Struct, None] = {}
    for change in changes:
        owner, shown = _object(change.object), _change(change)
        files.setdefault(change.file, {}).setdefault(owner, []).append(shown)
        objects.setdefault(owner, []).append(shown)
        distinct.setdefault(shown)
    shown_files = GoMap({file: _by_object(found) for file, found in files.items()}, "map[string]update.ObjectChanges")
    methods = {"Objects": _by_object(objects), "Changes": GoList(distinct, "update.Change")}
    return Struct("update.Result", (("FileChanges", shown_files),), methods)


def _by_object(changes: Mapping[Struct, Iterable[Struct]]) -> GoMap:
    lists = {owner: GoList(found, "update.Change") for owner, found in changes.items()}
    return GoMap(lists, "update.ObjectChanges")


def _object(found: ObjectIdentifier) -> Struct:
    kind = Struct("yaml.TypeMeta", (("APIVersion", found.api_version), ("Kind", found.kind)))
    name = Struct("yaml.NameMeta", (("Name", found.name), ("Namespace", found.namespace)))
    return Struct("update.ObjectIdentifier", (("", Struct("yaml.ResourceIdentifier", (("", kind), ("", name)))),))


def _change(change: Change) -> Struct:
    return Struct("update.Change", (("OldValue", change.old), ("NewValue", change.new), ("Setter", change.setter)))
