"""The words everything else is written in: wire structs, object names, trees, revisions, mute secrets.

Nothing here knows a kind, a port or a file. What travels as JSON is a `Wire` struct; what Kubernetes owns and we only
pass on is a `Manifest`; what Git stores is a `Tree` at a `Revision`.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, ClassVar, Literal, NamedTuple, Self, dataclass_transform

import msgspec

Manifest = Mapping[str, Any]
"""The decoded JSON of one Kubernetes object. Only our own kinds are typed."""


class _WireMeta(msgspec.StructMeta):
    # msgspec inherits most options but not kw_only; this states them once for every subclass.
    def __new__(mcls, name: str, bases: tuple[type, ...], namespace: dict[str, Any], **options: Any) -> Any:
        defaults = {"frozen": True, "kw_only": True, "rename": "camel", "omit_defaults": True}
        return super().__new__(mcls, name, bases, namespace, **{**defaults, **options})


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(msgspec.field,))
class Wire(msgspec.Struct, metaclass=_WireMeta, frozen=True):
    """Base of everything that travels as JSON: immutable, keyword-only, camelCase, no nulls.

    Fields that a newer peer added are not decoded. They are kept all the same, because nothing we write replaces a
    whole object: statuses are written as merge patches of the fields we know, specs are never written.
    """


class Kind(NamedTuple):
    """A group, version and kind: what Kubernetes calls a GVK.

    >>> Kind.of("apps/v1", "Deployment").api_version
    'apps/v1'
    >>> Kind.of("v1", "Secret")
    Kind(group='', version='v1', kind='Secret')
    """

    group: str
    version: str
    kind: str

    @classmethod
    def of(cls, api_version: str, kind: str) -> Self:
        group, _, version = api_version.rpartition("/")
        return cls(group, version, kind)

    @classmethod
    def of_manifest(cls, manifest: Manifest) -> Self:
        return cls.of(manifest["apiVersion"], manifest["kind"])

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    def __str__(self) -> str:
        return f"{self.api_version}/{self.kind}"


SERVICE_ACCOUNT = Kind("", "v1", "ServiceAccount")


class ObjectKey(NamedTuple):
    """What queues hold: the namespace ("" for cluster-scoped objects) and the name."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


class ObjectRef(NamedTuple):
    """One object of any kind: what inventories, events and error messages name.

    >>> str(ObjectRef(Kind.of("apps/v1", "Deployment"), ObjectKey("shop", "web")))
    'Deployment/shop/web'
    """

    kind: Kind
    key: ObjectKey

    @classmethod
    def of(cls, manifest: Manifest) -> Self:
        metadata = manifest.get("metadata") or {}
        return cls(Kind.of_manifest(manifest), ObjectKey(metadata.get("namespace", ""), metadata.get("name", "")))

    @property
    def identity(self) -> tuple[str, str, str, str]:
        """Return what makes an object the same object: group, kind, namespace and name, without a version."""
        return self.kind.group, self.kind.kind, self.key.namespace, self.key.name

    def __str__(self) -> str:
        return f"{self.kind.kind}/{self.key}"


class OwnerReference(Wire):
    api_version: str
    kind: str
    name: str
    uid: str
    controller: bool = False
    block_owner_deletion: bool = False


class ObjectMeta(Wire):
    """The part of an object's metadata that we read. managedFields are left out: they double an object's size."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    creation_timestamp: datetime | None = None
    deletion_timestamp: datetime | None = None
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    finalizers: tuple[str, ...] = ()
    owner_references: tuple[OwnerReference, ...] = ()


ConditionStatus = Literal["True", "False", "Unknown"]


class Condition(Wire, omit_defaults=False):
    """One entry of status.conditions, as `kubectl wait` and kstatus read it."""

    type: str
    status: ConditionStatus
    reason: str = ""
    message: str = ""
    last_transition_time: datetime | None = None
    observed_generation: int | None = None


class Status(Wire):
    """What every status of ours begins with.

    `observed_generation` is the generation that the conditions speak of; -1, the CRDs' default, means not seen yet.
    """

    conditions: tuple[Condition, ...] = ()
    observed_generation: int = 0
    last_handled_reconcile_at: str = ""

    @property
    def ready(self) -> Condition | None:
        """The Ready condition, of whatever generation."""
        return next((condition for condition in self.conditions if condition.type == "Ready"), None)

    @property
    def is_ready(self) -> bool:
        return self.ready is not None and self.ready.status == "True"


class PrinterColumn(NamedTuple):
    """One column of `kubectl get`: what the CRD's additionalPrinterColumns says."""

    name: str
    json_path: str
    type: str = "string"
    priority: int = 0


class Resource(Wire):
    """Base of our kinds: one class is the model, the decoder, the CRD and its documentation.

    A subclass sets the class variables and declares `spec` and `status`. Its docstring is the CRD's description.
    """

    KIND: ClassVar[Kind]
    PLURAL: ClassVar[str]
    NAMESPACED: ClassVar[bool] = True
    SHORT_NAMES: ClassVar[tuple[str, ...]] = ()
    CATEGORIES: ClassVar[tuple[str, ...]] = ()
    COLUMNS: ClassVar[tuple[PrinterColumn, ...]] = ()
    SELECTABLE_FIELDS: ClassVar[tuple[str, ...]] = ()
    CRD_LABELS: ClassVar[Mapping[str, str]] = {}
    CRD_ANNOTATIONS: ClassVar[Mapping[str, str]] = {}
    FINALIZER: ClassVar[str] = ""
    """The finalizer that the runtime keeps on every object of this kind; "" for none."""
    STATUS_SUBRESOURCE: ClassVar[bool] = True
    """Whether statuses are written apart. Where they are not, a status counts in metadata.generation."""
    OWN_CONDITIONS: ClassVar[tuple[str, ...]] = ()
    """The kind's own condition types. One of these goes away when a result does not name it; those of types that nobody
    here knows are a newer peer's and stay."""
    CONTROLLER: ClassVar[str] = "sealoop"
    """Who its events and status fields are from: the original controller's name, which people's alerts filter by."""
    MANAGER: ClassVar[str] = ""
    """The field manager of its status and finalizer where that is not CONTROLLER."""

    metadata: ObjectMeta = ObjectMeta()
    spec: Any = None
    status: Any = None

    @classmethod
    def get_field_manager(cls) -> str:
        return cls.MANAGER or cls.CONTROLLER

    @property
    def key(self) -> ObjectKey:
        return ObjectKey(self.metadata.namespace, self.metadata.name)

    @property
    def ref(self) -> ObjectRef:
        return ObjectRef(self.KIND, self.key)


class Revision(NamedTuple):
    """A commit and the name it was found under, in the string form that other tools parse.

    >>> Revision.parse("main@sha1:" + "a" * 40)
    Revision(name='main', commit='aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa')
    >>> str(Revision("", "b" * 40))
    'sha1:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb'

    Source: Flux RFC-0005.
    """

    name: str
    commit: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse a revision. Raises ValueError: `text` is not `[NAME@]sha1:HEX`."""
        match = re.fullmatch(r"(?:(.+)@)?sha(?:1|256):([0-9a-f]{40}|[0-9a-f]{64})", text)
        if match is None:
            raise ValueError(f"not a revision: {text!r}")
        return cls(match[1] or "", match[2])

    def __str__(self) -> str:
        algorithm = "sha1" if len(self.commit) == 40 else "sha256"
        return f"{self.name}@{algorithm}:{self.commit}" if self.name else f"{algorithm}:{self.commit}"


class Tree(Mapping[str, bytes]):
    """The regular files below one folder of a source: contents by path, "/" between parts, relative to that folder.

    A checkout as a value. `oid` is the Git object id of the folder's tree, so equal oids mean equal contents and what
    was computed from one may be kept for the other. Listing is cheap; contents may be read on first access.
    """

    oid: str

    @property
    def is_private(self) -> bool:
        """Tell whether the files are not for all who have the tree they were made from: nothing of them is shared."""
        return False

    @property
    def links(self) -> Mapping[str, str]:
        """Symbolic links by path: where they point, as stored. They are not files and are never followed on disk."""
        return {}

    @property
    def submodules(self) -> Mapping[str, str]:
        """Commits of other repositories by the path that they would be at. They are neither files nor folders here."""
        return {}

    def explain_absence(self, path: str) -> str:
        """Explain why `path` is not among the files, as the rest of a sentence; "" when no more is known."""
        parts = path.split("/")
        above = next((name for end in range(len(parts)) if (name := "/".join(parts[: end + 1])) in self.links), None)
        if above is None:
            return ""
        what = "" if above == path else f"is below {above}, which "
        return f"{what}is a symbolic link to {self.links[above]}; only links to what is in the repository are followed"

    def find_blob(self, path: str) -> str:
        """Find Git's object id of a file's contents, which need not be read for it; "" when it is not known."""
        return ""


@dataclass(frozen=True, eq=False)
class FixedTree(Tree):
    """A Tree held in memory."""

    oid: str
    files: Mapping[str, bytes]

    def __getitem__(self, path: str) -> bytes:
        return self.files[path]

    def __iter__(self) -> Iterator[str]:
        return iter(self.files)

    def __len__(self) -> int:
        return len(self.files)


class Sensitive:
    """Bytes that must not be seen: a password, a token, a private key.

    Its repr, str and format are mute, it does not pickle, and comparing it takes the same time wherever it differs.
    `reveal()` is the only way to the value, and easy to grep for.
    """

    __slots__ = ("_value",)

    def __init__(self, value: bytes | str) -> None:
        self._value = value.encode() if isinstance(value, str) else bytes(value)

    def reveal(self) -> bytes:
        return self._value

    def reveal_text(self) -> str:
        """Reveal the value as UTF-8 text. Raises ValueError, which does not quote the value."""
        try:
            return self._value.decode()
        except UnicodeDecodeError:
            raise ValueError("the value is not UTF-8 text") from None

    def __repr__(self) -> str:
        return "Sensitive(...)"

    def __format__(self, spec: str) -> str:
        return "***"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sensitive) and hmac.compare_digest(self._value, other._value)

    def __hash__(self) -> int:
        return hash(self._value)

    def __bool__(self) -> bool:
        return bool(self._value)

    def __reduce__(self) -> Any:
        raise TypeError("a Sensitive value does not leave the process")


_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}


def parse_duration(duration: str) -> float:
    """Parse a Go duration to its length in seconds.

    >>> parse_duration("1h30m"), parse_duration("500ms"), parse_duration("0")
    (5400.0, 0.5, 0.0)

    Raises:
        ValueError: not a duration, or one without a unit other than 0.
    """
    text = duration.removeprefix("+").removeprefix("-")
    sign = -1.0 if duration.startswith("-") else 1.0
    if text == "0":
        return 0.0
    if not re.fullmatch(r"(?:(?:\d+\.?\d*|\.\d+)(?:ns|us|µs|ms|s|m|h))+", text):
        raise ValueError(f"not a duration: {duration!r}")
    return sign * sum(float(n) * _UNITS[unit] for n, unit in re.findall(r"(\d+\.?\d*|\.\d+)(ns|us|µs|ms|s|m|h)", text))


def write_timestamp(moment: datetime) -> str:
    """Write `moment` as Kubernetes writes times: UTC, whole seconds, `Z`."""
    return moment.astimezone(UTC).replace(microsecond=0).isoformat().replace("+00:00", "Z")
