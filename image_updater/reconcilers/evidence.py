"""What a registry is asked about a candidate, as domain.guards.verdicts wants it: its digest, platforms, signatures."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field, replace

from gitops_core.errors import ImageUnknown, ImageUnreadable, RegistryError, TransientError
from gitops_core.meta import Manifest, ObjectKey, ObjectRef
from gitops_core.oci.cosign import PublicKey, explain_refusal, parse_keys
from gitops_core.oci.credentials import RegistryAccess
from gitops_core.oci.references import Repository
from gitops_core.ports import Clock, CloudLogins, Cluster, Compute
from gitops_core.runtime.reconciling import Notice
from gitops_core.runtime.remotes.credentials import SECRET
from gitops_core.runtime.remotes.registries import read_registry_access
from image_updater.api import ImageRef, ImageRepository
from image_updater.domain.guards.verdicts import Facts, Need
from image_updater.domain.guards.vouching import make_catalog_name
from image_updater.errors import GuardInvalid
from image_updater.ports import ImageReader, Registry, TagCatalog

CHECK_WEIGHT = 1000
"""What it counts to check one signature with one key."""
KEY_WEIGHT = 5
"""What a byte of a public key counts that is read."""


@dataclass
class Witness:
    """Answers the `Need`s of one decision. Credentials and keys are read when they are needed, once.

    Attributes:
        namespace: of the policy, whose guards name the keys.
        kept: what the policy names by a digest that stays: that image is judged, not what its tag names by now.
        strict: a tag that names no image is an error, as without guards, and not just no candidate.
        notices: of tags that name another image than before.
    """

    cluster: Cluster
    registry: Registry
    reader: ImageReader
    catalog: TagCatalog
    logins: CloudLogins | None
    wanted: ImageRepository
    repository: Repository
    namespace: str
    verify: tuple[str, ...]
    clock: Clock
    compute: Compute
    kept: ImageRef | None
    strict: bool
    notices: list[Notice] = field(default_factory=list)
    default_account: str = ""
    _access: RegistryAccess | None = None
    _keys: dict[str, tuple[PublicKey, ...]] = field(default_factory=dict)

    async def answer(self, need: Need, known: Facts) -> Facts:
        """Return `known` with the facts that are needed.

        Raises:
            TransientError: the registry or a Secret cannot be asked.
            GuardInvalid: a Secret that verifies holds no key.
        """
        image = f"{self.wanted.spec.image}:{need.tag}"
        try:
            if self._access is None:
                self._access = await read_registry_access(
                    self.cluster, self.wanted, self.repository, self.logins, self.compute, self.default_account
                )
            match need.what:
                case "digest":
                    return await self._find_digest(need.tag, known, self._access)
                case "platforms":
                    found = await self.reader.read_image(self.repository, known.digest or need.tag, self._access)
                    return replace(known, platforms=found.platforms)
                case "signature":
                    return replace(known, unsigned=await self._explain_unsigned(known.digest, self._access))
        except (ImageUnknown, ImageUnreadable) as error:
            if not self.strict:
                return replace(known, gone=str(error))
            raise TransientError(f"failed fetching digest of {image}: {error}") from error
        except RegistryError as error:
            doing = "fetching digest" if need.what == "digest" else f"reading the {need.what}"
            raise TransientError(f"failed {doing} of {image}: {error}", retry_after=error.retry_after) from error

    async def _find_digest(self, tag: str, known: Facts, access: RegistryAccess) -> Facts:
        digest = await self.registry.resolve_digest(self.repository, tag, access)
        now = self.clock.now()  # the tag may have been moved while we asked
        former = await self.catalog.observe(make_catalog_name(self.wanted, str(self.repository)), tag, digest, now)
        if former:
            text = f"tag {tag} of {self.wanted.spec.image} names another image now: {former} -> {digest}"
            self.notices.append(Notice("Warning", "TagMoved", text))
        if self.kept is not None and self.kept.tag == tag:
            digest = self.kept.digest
        return replace(known, digest=digest, moved=bool(former))

    async def _explain_unsigned(self, digest: str, access: RegistryAccess) -> str:
        claims = await self.reader.list_claims(self.repository, digest, access)
        for secret in self.verify:
            if secret not in self._keys:
                self._keys[secret] = await self._read_keys(secret)
            keys = self._keys[secret]
            why = await self.compute.run(len(claims) * len(keys) * CHECK_WEIGHT, explain_refusal, claims, digest, keys)
            if why:
                return why
        return ""

    async def _read_keys(self, name: str) -> tuple[PublicKey, ...]:
        key = ObjectKey(self.namespace, name)
        manifest = await self.cluster.get(ObjectRef(SECRET, key))
        if manifest is None:
            raise TransientError(f"secret '{key}' that a guard verifies with not found", reason="VerificationError")
        size = sum(len(text or "") for text in (manifest.get("data") or {}).values())
        try:
            return await self.compute.run(size * KEY_WEIGHT, _parse_keys, manifest)
        except ValueError as error:
            raise GuardInvalid(f"secret '{key}': {error}") from None


def _parse_keys(manifest: Manifest) -> tuple[PublicKey, ...]:
    """Parse the keys in a Secret. Raises ValueError."""
    data = manifest.get("data") or {}
    return parse_keys({name: base64.b64decode(text or "", validate=True) for name, text in data.items()})
