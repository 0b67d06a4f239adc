"""OCIRepository: ask the registry once an interval which artifact the reference names, and say what it holds.

The status is what others act on: a new `artifact.revision` wakes every Kustomization that names the repository. A tag
costs one HEAD, a range one listing, a digest nothing; only what is new is verified and pulled.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import msgspec

from gitops_core.api import Artifact, OCIRepository, OCIRepositoryStatus
from gitops_core.errors import SourceFailed, StalledError
from gitops_core.meta import Condition, parse_duration
from gitops_core.ports import Clock
from gitops_core.reconcilers.ocisources import PULL_FAILED, OciSource, Place, Pulled, get_digest
from gitops_core.reconcilers.telling import (
    LATEST,
    SERVED,
    VERIFIED,
    find_condition,
    is_ours,
    list_failure,
    list_notices,
    make_artifact,
    write_path,
)
from gitops_core.runtime.loop.refusing import refuse_unsupported
from gitops_core.runtime.reconciling import Outcome

GROUP = OCIRepository.KIND.group
SOURCE, REVISION = "org.opencontainers.image.source", "org.opencontainers.image.revision"


@dataclass
class _Look:
    """What one look at the registry has come to so far.

    Attributes:
        revision: what the reference names now, "" while that is not known.
        verified: what is to be said of its signature.
    """

    wanted: OCIRepository
    revision: str = ""
    verified: Condition | None = None

    @property
    def known(self) -> Artifact | None:
        return self.wanted.status.artifact

    @property
    def is_current(self) -> bool:
        """Tell whether the status has this artifact, made by us as it is wanted now."""
        status, spec, known = self.wanted.status, self.wanted.spec, self.known
        return (
            known is not None
            and known.revision == self.revision
            and is_ours(known)
            and status.observed_ignore == spec.ignore
            and status.observed_layer_selector == spec.layer_selector
        )

    @property
    def is_verified(self) -> bool:
        """Tell whether this revision was verified with what is wanted now."""
        told, status = find_condition(self.wanted.status, VERIFIED), self.wanted.status
        of_this = status.observed_generation == self.wanted.metadata.generation
        same = self.known is not None and self.known.revision == self.revision
        return told is not None and told.status == "True" and of_this and same

    def list_failure(self, error: SourceFailed) -> tuple[Condition, ...]:
        """List the conditions of a failure. What is stored stays, and what is true of it."""
        told = list_failure(error, self.wanted.status, self.known, self.revision, self.wanted.spec.url)
        verified = self.verified or self._find_verified()
        return told if error.condition == VERIFIED or verified is None else (*told, verified)

    def _find_verified(self) -> Condition | None:
        """Find what was said of the stored artifact's signature, if what is wanted of it is still the same."""
        told = find_condition(self.wanted.status, VERIFIED)
        same = self.wanted.status.observed_generation == self.wanted.metadata.generation
        return told if told is not None and told.status == "True" and same and self.wanted.spec.verify else None


@dataclass(frozen=True)
class OCIRepositoryReconciler:
    """Implements gitops_core.runtime.reconciling.Reconciler for OCIRepository."""

    source: OciSource
    clock: Clock

    async def reconcile(self, wanted: OCIRepository) -> Outcome:
        refuse_unsupported(wanted, ())
        _refuse_keyless(wanted)
        look, seconds = _Look(wanted), parse_duration(wanted.spec.timeout)
        try:
            try:
                async with asyncio.timeout(seconds):
                    return await self._look(look)
            except TimeoutError:
                told = f"failed to pull artifact from '{wanted.spec.url}': not done within spec.timeout"
                raise SourceFailed(f"{told} ({wanted.spec.timeout})", reason=PULL_FAILED) from None
        except SourceFailed as error:
            raise error.carry(wanted.status, *look.list_failure(error)) from None
        except StalledError as error:
            failed = SourceFailed(str(error), reason=error.reason)
            raise error.carry(wanted.status, *look.list_failure(failed)) from None

    async def finalize(self, wanted: OCIRepository) -> None:
        """Leave everything: what is kept of an object that is gone is removed when nobody used it for some days."""

    async def _look(self, look: _Look) -> Outcome:
        wanted = look.wanted
        place = await self.source.open(wanted)
        look.revision = await self.source.find_revision(wanted, place)
        if wanted.spec.verify is not None:
            await self._verify(look, place)
        if look.is_current and look.known is not None:
            return self._report(look, look.known)
        spec = wanted.spec
        pulled = await self.source.pull(wanted, place, get_digest(look.revision), spec.layer_selector, spec.ignore)
        return self._report(look, self._make_artifact(look, pulled))

    async def _verify(self, look: _Look, place: Place) -> None:
        """Verify what was not verified yet as it is wanted now. Raises VerificationFailed."""
        if look.is_verified:
            look.verified = find_condition(look.wanted.status, VERIFIED)
            return
        await self.source.verify(look.wanted, place, look.revision)
        message = f"verified signature of revision {look.revision}"
        look.verified = Condition(type=VERIFIED, status="True", reason="Succeeded", message=message)

    def _make_artifact(self, look: _Look, pulled: Pulled) -> Artifact:
        file, digest = f"{get_digest(look.revision)}.tar.gz", f"sha256:{pulled.tree}"
        made = make_artifact(look.wanted, file, look.revision, digest, self.clock)
        return msgspec.structs.replace(made, metadata=dict(pulled.annotations))

    def _report(self, look: _Look, artifact: Artifact) -> Outcome:
        wanted, message = look.wanted, f"stored artifact for digest '{artifact.revision}'"
        status: OCIRepositoryStatus = msgspec.structs.replace(
            wanted.status,
            url=f"{SERVED}/{write_path(OCIRepository.KIND, wanted.metadata, LATEST)}",
            artifact=artifact,
            observed_ignore=wanted.spec.ignore,
            observed_layer_selector=wanted.spec.layer_selector,
        )
        stored = Condition(type="ArtifactInStorage", status="True", reason="Succeeded", message=message)
        return Outcome(
            status,
            message,
            parse_duration(wanted.spec.interval),
            conditions=(stored, *((look.verified,) if look.verified is not None else ())),
            changed=artifact is not look.known,
            notices=list_notices(wanted.status, look.known, artifact, _write_news(wanted, artifact), GROUP),
        )


def _write_news(wanted: OCIRepository, artifact: Artifact) -> str:
    text = f"stored artifact with revision '{artifact.revision}' from '{wanted.spec.url}'"
    source, revision = artifact.metadata.get(SOURCE), artifact.metadata.get(REVISION)
    if source and revision:
        text = f"{text}, origin source '{source}', origin revision '{revision}'"
    return text


def _refuse_keyless(wanted: OCIRepository) -> None:
    """Raise StalledError where a signature without a key is wanted: it would be taken for verified."""
    verification = wanted.spec.verify
    if verification is not None and verification.secret_ref is None:
        message = f"{wanted.ref} wants keyless signatures, which are not supported yet, nothing was done: set"
        raise StalledError(f"{message} spec.verify.secretRef to a Secret with public keys", reason="FieldsNotSupported")
