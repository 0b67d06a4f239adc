"""Whether a source's commit, and the tag that names it, are signed with keys that its GitRepository trusts.

HEAD        the commit           Tag    the annotated tag           TagAndHEAD    both

It is looked at again each time, not once for a revision: a key that is taken away counts no more, and a tag may be made
anew on the same commit. That costs no request to the remote.

Source: Flux, spec.verify.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from gitops_core.api import GitRepository
from gitops_core.api.gitrepository import VerificationMode
from gitops_core.domain.sources.signatures import (
    NotSigned,
    SignatureInvalid,
    Signed,
    check_tag,
    split_commit,
    split_tag,
)
from gitops_core.domain.sources.signers import Keyring, find_signer, read_keyring
from gitops_core.errors import StalledError, VerificationFailed
from gitops_core.meta import ObjectKey, ObjectRef, Revision
from gitops_core.ports import Cluster, Compute, GitRemote
from gitops_core.runtime.remotes.credentials import SECRET, decode_data

KEY_WEIGHT = 50
"""What a byte of keys and signed texts counts: a signature costs thousands of times what reading it does."""


class VerificationMisset(StalledError):
    reason = "InvalidVerificationMode"


@dataclass(frozen=True)
class Verified:
    """What was found signed, in one sentence, and by which mode."""

    mode: VerificationMode
    message: str


@dataclass(frozen=True)
class Verifier:
    cluster: Cluster
    compute: Compute

    async def verify(self, wanted: GitRepository, remote: GitRemote, revision: Revision) -> Verified | None:
        """Verify what `revision` was found as; None where nothing is to be verified.

        Raises:
            VerificationFailed, VerificationMisset, GitError, ClusterError.
        """
        asked = wanted.spec.verify
        if asked is None:
            return None
        mode: VerificationMode = "HEAD" if asked.mode == "head" else asked.mode
        ref = _find_tag(wanted, revision)
        if mode != "HEAD" and not ref:
            raise VerificationMisset("cannot verify tag object's signature if a tag reference is not specified")
        keyring = await self._read_keyring(ObjectKey(wanted.metadata.namespace, asked.secret_ref.name))
        verified = []
        if mode != "HEAD":
            verified.append(await self._verify_tag(remote, ref, revision.commit, keyring))
        if mode != "Tag":
            verified.append(await self._verify_commit(remote, revision, keyring))
        return Verified(mode, "verified signature of" + "".join(f"\n\t- {what}" for what in verified))

    async def _read_keyring(self, key: ObjectKey) -> Keyring:
        manifest = await self.cluster.get(ObjectRef(SECRET, key))
        if manifest is None:
            raise VerificationFailed(f"public keys secret error: secret '{key}' not found", reason="VerificationError")
        try:
            return read_keyring(decode_data(manifest))
        except ValueError:
            cause = f"public keys secret error: secret '{key}' holds data that is not base64"
            raise VerificationFailed(cause, reason="VerificationError") from None

    async def _verify_commit(self, remote: GitRemote, revision: Revision, keyring: Keyring) -> str:
        oid = revision.commit
        body = await remote.read_commit(revision)
        try:
            signer = await self._find_signer(body, lambda: split_commit(oid, body), keyring)
        except SignatureInvalid as error:
            cause = f"signature verification of commit '{oid}' failed: {error}"
            raise VerificationFailed(cause, reason="InvalidCommitSignature") from None
        return f"commit '{oid}' with key '{signer}'"

    async def _verify_tag(self, remote: GitRemote, ref: str, commit: str, keyring: Keyring) -> str:
        name = ref.removeprefix("refs/tags/")
        body = await remote.read_tag(ref, commit)
        try:
            signer = await self._find_signer(body or b"", lambda: _split_tag(body, name, commit), keyring)
        except NotSigned:
            cause = f"cannot verify signature of tag '{name}' since it is not signed"
            raise VerificationFailed(cause, reason="InvalidGitObject") from None
        except SignatureInvalid as error:
            cause = f"signature verification of tag '{name}' failed: {error}"
            raise VerificationFailed(cause, reason="InvalidTagSignature") from None
        return f"tag '{name}' with key '{signer}'"

    async def _find_signer(self, body: bytes, split: Callable[[], Signed], keyring: Keyring) -> str:
        weight = KEY_WEIGHT * (len(body) + sum(map(len, (*keyring.openpgp, *keyring.ssh))))
        return await self.compute.run(weight, lambda: find_signer(split(), keyring))


def _split_tag(body: bytes | None, name: str, commit: str) -> Signed:
    signed = split_tag(body or b"")  # what is no annotated tag has no signature
    check_tag(signed.payload, name, commit)
    return signed


def _find_tag(wanted: GitRepository, revision: Revision) -> str:
    """Find the full name of the tag by which a revision was found; "" when it was something else."""
    ref = wanted.spec.ref
    if ref is None or ref.commit:
        return ""
    if ref.name:
        return ref.name if ref.name.startswith("refs/tags/") else ""
    return f"refs/tags/{revision.name}" if ref.semver or ref.tag else ""
