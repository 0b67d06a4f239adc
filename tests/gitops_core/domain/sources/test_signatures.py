"""Signed commits and tags, made by git with ssh-keygen and by GnuPG; what was altered, moved or replayed is refused."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st
from pysequoia import SignatureMode, Tsk, sign

from gitops_core.domain.sources.signatures import (
    NotSigned,
    SignatureInvalid,
    Signed,
    check_tag,
    split_commit,
    split_tag,
)
from gitops_core.domain.sources.signers import find_signer, read_keyring
from sealoop.embedded.githttp import create_repository
from tests.servers.git import git

BUNDLE = Path(__file__).parents[3] / "golden/data/gitrepositories/signed.bundle"
ALICE = "d5f08a1c73f3ee08f13934d694ce8f8b98674178"
SSH_BEGIN, SSH_END = b"-----BEGIN SSH SIGNATURE-----\n", b"-----END SSH SIGNATURE-----\n"


@dataclass(frozen=True)
class Objects:
    """Objects of a repository as git stores them."""

    directory: Path

    def read(self, name: str, type_: str = "commit") -> bytes:
        command = ["git", f"--git-dir={self.directory}", "cat-file", type_, name]
        return subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout


@pytest.fixture(scope="module")
def gnupg(tmp_path_factory: pytest.TempPathFactory) -> Objects:
    """Return the recorded repository, whose commits and tags GnuPG signed."""
    directory = tmp_path_factory.mktemp("signed") / "r.git"
    asyncio.run(create_repository(directory, {}))
    asyncio.run(git(f"--git-dir={directory}", "fetch", "--quiet", str(BUNDLE), "refs/*:refs/*"))
    return Objects(directory)


@pytest.fixture(scope="module")
def alice() -> bytes:
    import json

    cases = map(json.loads, (BUNDLE.parents[1] / "gitrepositories.jsonl").read_text().splitlines())
    found = next(case for case in cases if case["name"] == "git-verify-head-lowercase")
    return str(found["setup"]["objects"][0]["stringData"]["alice.asc"]).encode()


def make_key(folder: Path, *options: str) -> Path:
    """Make a key pair with ssh-keygen."""
    path = folder / "key"
    folder.mkdir()
    subprocess.run(["ssh-keygen", "-q", "-N", "", "-C", "alice", *options, "-f", str(path)], check=True)
    return path


def commit_with(folder: Path, key: Path, message: str = "signed", name: str = "v1.0.0") -> Objects:
    """Make a commit and an annotated tag, each signed by git with an SSH key."""
    work = folder / "work"
    settings = {"user.name": "A", "user.email": "a@b.c", "gpg.format": "ssh", "user.signingKey": str(key)}
    options = [word for pair in settings.items() for word in ("-c", "=".join(pair))]
    for words in (
        ["init", "--quiet", "--initial-branch=main", str(work)],
        ["-C", str(work), *options, "commit", "--quiet", "--allow-empty", "-S", "-m", message],
        ["-C", str(work), *options, "tag", "-s", "-m", message, name],
    ):
        subprocess.run(["git", *words], check=True)
    return Objects(work / ".git")


def signer_of_commit(body: bytes, keys: Mapping[str, bytes], oid: str = "0" * 40) -> str:
    return find_signer(split_commit(oid, body), read_keyring(keys))


KEYS = {
    "ed25519": ("-t", "ed25519"),
    "ecdsa-256": ("-t", "ecdsa", "-b", "256"),
    "ecdsa-384": ("-t", "ecdsa", "-b", "384"),
    "ecdsa-521": ("-t", "ecdsa", "-b", "521"),
    "rsa": ("-t", "rsa", "-b", "2048"),
}


@pytest.mark.parametrize("kind", KEYS)
def test_what_git_signs_with_a_key_of_ssh_is_verified_with_it_and_with_no_other(kind: str, tmp_path: Path) -> None:
    key = make_key(tmp_path / "keys", *KEYS[kind])
    other = make_key(tmp_path / "others", *KEYS[kind]).with_suffix(".pub").read_bytes()
    objects = commit_with(tmp_path, key)
    public = key.with_suffix(".pub").read_bytes()
    shown = (
        subprocess.run(["ssh-keygen", "-lf", str(key)], check=True, stdout=subprocess.PIPE).stdout.decode().split()[1]
    )

    tag = split_tag(objects.read("v1.0.0", "tag"))
    head = objects.read("HEAD")

    assert signer_of_commit(head, {"b.sshpub": other, "a.sshpub": b"# keys\n\n" + public}) == shown
    assert find_signer(tag, read_keyring({"a.sshpub": public})) == shown
    for refused in ({"b.sshpub": other}, {"a.pub": public}, {"a.sshpub": b'cert-authority,namespaces="git" ' + public}):
        with pytest.raises(SignatureInvalid):
            signer_of_commit(head, refused)


def test_what_gnupg_signed_is_verified_whatever_else_the_secret_holds(gnupg: Objects, alice: bytes) -> None:
    keys = {"alice.asc": alice, "a-note": b"no key", "empty": b""}

    assert signer_of_commit(gnupg.read(ALICE), keys) == "E3FA7DBD7667E5CB"
    tag = split_tag(gnupg.read("v1.0.0", "tag"))
    assert find_signer(tag, read_keyring(keys)) == "E3FA7DBD7667E5CB"
    check_tag(tag.payload, "v1.0.0", ALICE)
    for keyring in ({"a-note": b"no key"}, {"alice.sshpub": alice}, {}):
        with pytest.raises(SignatureInvalid, match="no PGP public keys found"):
            signer_of_commit(gnupg.read(ALICE), keyring)


def test_any_other_byte_is_not_what_was_signed(gnupg: Objects, alice: bytes) -> None:
    signed, keyring = split_commit(ALICE, gnupg.read(ALICE)), read_keyring({"alice.asc": alice})

    for place in range(0, len(signed.payload), 7):
        altered = bytearray(signed.payload)
        altered[place] ^= 1
        with pytest.raises(SignatureInvalid):
            find_signer(Signed(bytes(altered), signed.signature), keyring)


HEADS = st.lists(
    st.sampled_from([b"tree 1", b"parent 2", b"author A <a> 1 +0000", b"mergetag object 3", b" gpgsig inner", b"x y"]),
    min_size=1,
    max_size=5,
).map(lambda lines: [b"tree 0", *lines])
ARMOR = st.lists(st.sampled_from([b"", b"-----BEGIN", b"tree 9", b"gpgsig z", b"abc="]), min_size=1, max_size=4)


@given(head=HEADS, armor=ARMOR, place=st.integers(1, 6), message=st.sampled_from([b"", b"m", b"m\n\ngpgsig no\n"]))
def test_the_payload_is_the_commit_without_its_signature_wherever_that_stands(
    head: list[bytes], armor: list[bytes], place: int, message: bytes
) -> None:
    """A line that begins with a space belongs to the one before it: no signature stands in between."""
    place = min(place, len(head))
    while place < len(head) and head[place].startswith(b" "):
        place += 1
    block = [b"gpgsig " + armor[0], *(b" " + line for line in armor[1:])]

    signed = split_commit("0" * 40, b"\n".join([*head[:place], *block, *head[place:]]) + b"\n\n" + message)

    assert signed == Signed(b"\n".join(head) + b"\n\n" + message, b"\n".join(armor) + b"\n")


def test_a_second_signature_is_not_looked_past(gnupg: Objects, alice: bytes) -> None:
    body = gnupg.read(ALICE)
    head, blank, message = body.partition(b"\n\n")

    for header, fault in ((b"gpgsig", "it has 2 signatures"), (b"gpgsig-sha256", "")):
        twice = (
            head + b"\n" + header + b" -----BEGIN PGP SIGNATURE-----\n -----END PGP SIGNATURE-----" + blank + message
        )
        if fault:
            with pytest.raises(SignatureInvalid, match=fault):
                signer_of_commit(twice, {"alice.asc": alice})
        else:  # of another hash: it is of no account
            assert signer_of_commit(twice, {"alice.asc": alice})
            with pytest.raises(SignatureInvalid):
                signer_of_commit(twice, {"alice.asc": alice}, "0" * 64)


def test_a_signature_in_a_message_signs_no_commit() -> None:
    with pytest.raises(NotSigned):
        split_commit("0" * 40, b"tree 0\n\ngpgsig -----BEGIN SSH SIGNATURE-----\n x\n")


def test_a_signed_tag_counts_under_its_own_name_and_for_its_own_commit_only(gnupg: Objects) -> None:
    signed = split_tag(gnupg.read("v1.0.0", "tag"))

    with pytest.raises(SignatureInvalid, match=r"signed as tag 'v1\.0\.0'"):
        check_tag(signed.payload, "v9.9.9", ALICE)
    with pytest.raises(SignatureInvalid, match="and not for commit"):
        check_tag(signed.payload, "v1.0.0", "0" * 40)
    nested = signed.payload.replace(b"type commit", b"type tag")
    with pytest.raises(SignatureInvalid, match="signed for the tag"):
        check_tag(nested, "v1.0.0", ALICE)
    with pytest.raises(SignatureInvalid, match="cannot be read"):
        check_tag(b"\n" + signed.payload, "v1.0.0", ALICE)


def test_text_behind_a_signed_tag_is_not_taken_for_signed(tmp_path: Path) -> None:
    key = make_key(tmp_path / "keys", "-t", "ed25519")
    body = commit_with(tmp_path, key).read("v1.0.0", "tag")
    keyring = read_keyring({"a.sshpub": key.with_suffix(".pub").read_bytes()})
    own = body[body.index(SSH_BEGIN) :]

    assert find_signer(split_tag(body), keyring)
    for altered in (body + b"more\n", body.replace(b"\n\n", b"\n\nmore\n", 1), body + own, own + body):
        with pytest.raises(SignatureInvalid):
            find_signer(split_tag(altered), keyring)


def test_a_signature_made_for_something_else_is_refused(tmp_path: Path) -> None:
    key = make_key(tmp_path / "keys", "-t", "ed25519")
    payload = b"tree 0\n\nmessage\n"
    keyring = read_keyring({"a.sshpub": key.with_suffix(".pub").read_bytes()})

    def sign(namespace: str) -> bytes:
        command = ["ssh-keygen", "-q", "-Y", "sign", "-n", namespace, "-f", str(key)]
        return subprocess.run(command, check=True, input=payload, stdout=subprocess.PIPE).stdout

    assert find_signer(Signed(payload, sign("git")), keyring)
    with pytest.raises(SignatureInvalid, match="something else than Git"):
        find_signer(Signed(payload, sign("file")), keyring)


@given(cut=st.integers(0, 400), flip=st.integers(0, 400))
def test_a_signature_that_is_cut_or_altered_is_refused_and_nothing_else_happens(cut: int, flip: int) -> None:
    key = ed25519.Ed25519PrivateKey.from_private_bytes(b"k" * 32)
    line, armored = sign_by_hand(
        key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw), b"ssh-ed25519", key.sign
    )
    keyring = read_keyring({"a.sshpub": line})
    assert find_signer(Signed(b"payload", armored), keyring)
    altered = bytearray(armored)
    altered[flip % len(armored)] ^= 1

    for broken in (armored[: cut % (len(armored) - 1)], bytes(altered)):
        with pytest.raises(SignatureInvalid):
            find_signer(Signed(b"payload", broken), keyring)


def string(part: bytes) -> bytes:
    return len(part).to_bytes(4, "big") + part


def sign_by_hand(
    public: bytes,
    type_: bytes,
    sign: Callable[[bytes], bytes],
    *,
    form: bytes = b"",
    more: bytes = b"",
    rest: bytes = b"",
) -> tuple[bytes, bytes]:
    """Return the line of a key, and its signature of `payload`, as PROTOCOL.sshsig writes them."""
    key = string(type_) + string(public) + more
    covered = b"SSHSIG" + string(b"git") + string(b"") + string(b"sha512") + string(hashlib.sha512(b"payload").digest())
    made = string(form or type_) + string(sign(covered)) + rest
    blob = b"SSHSIG\0\0\0\1" + string(key) + string(b"git") + string(b"") + string(b"sha512") + string(made)
    lines = base64.encodebytes(blob)
    return type_ + b" " + base64.b64encode(key) + b" alice\n", SSH_BEGIN + lines + SSH_END


@pytest.mark.parametrize(("flags", "is_accepted"), [(1, True), (5, True), (0, False), (4, False)])
def test_a_security_key_signs_only_when_somebody_touches_it(flags: int, is_accepted: bool) -> None:
    rest = bytes([flags]) + (7).to_bytes(4, "big")
    edwards, nist = ed25519.Ed25519PrivateKey.generate(), ec.generate_private_key(ec.SECP256R1())

    def wrap(covered: bytes) -> bytes:
        return hashlib.sha256(b"ssh:").digest() + rest + hashlib.sha256(covered).digest()

    def sign_nist(covered: bytes) -> bytes:
        numbers = decode_dss_signature(nist.sign(wrap(covered), ec.ECDSA(hashes.SHA256())))
        return b"".join(string(number.to_bytes(33, "big")) for number in numbers)

    point = nist.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    raw = edwards.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    types, application = (b"sk-ssh-ed25519@openssh.com", b"sk-ecdsa-sha2-nistp256@openssh.com"), string(b"ssh:")
    made = (
        sign_by_hand(raw, types[0], lambda c: edwards.sign(wrap(c)), more=application, rest=rest),
        sign_by_hand(b"nistp256", types[1], sign_nist, more=string(point) + application, rest=rest),
    )
    for line, armored in made:
        keyring = read_keyring({"a.sshpub": line})
        if is_accepted:
            assert find_signer(Signed(b"payload", armored), keyring).startswith("SHA256:")
        else:
            with pytest.raises(SignatureInvalid, match="did not sign this"):
                find_signer(Signed(b"payload", armored), keyring)


def test_a_weak_key_and_a_weak_form_are_refused(tmp_path: Path) -> None:
    from cryptography.hazmat.primitives.asymmetric import padding, rsa

    for bits, form, hash_, is_accepted in (
        (2048, b"rsa-sha2-512", hashes.SHA512(), True),
        (2048, b"ssh-rsa", hashes.SHA1(), False),
        (1024, b"rsa-sha2-512", hashes.SHA512(), False),
    ):
        key = rsa.generate_private_key(65537, bits)
        numbers = key.public_key().public_numbers()
        modulus = string(numbers.n.to_bytes(bits // 8 + 1, "big"))

        def sign_plainly(covered: bytes, key: rsa.RSAPrivateKey = key, hash_: hashes.HashAlgorithm = hash_) -> bytes:
            return key.sign(covered, padding.PKCS1v15(), hash_)

        line, armored = sign_by_hand(b"\1\0\1", b"ssh-rsa", sign_plainly, form=form, more=modulus)
        keyring = read_keyring({"a.sshpub": line})
        if is_accepted:
            assert find_signer(Signed(b"payload", armored), keyring)
        else:
            with pytest.raises(SignatureInvalid, match="did not sign this"):
                find_signer(Signed(b"payload", armored), keyring)


def test_a_signature_of_openpgp_that_is_garbage_is_refused(alice: bytes) -> None:
    keyring = read_keyring({"alice.asc": alice})

    def armor(kind: bytes, content: bytes) -> Signed:
        return Signed(b"payload", b"-----BEGIN " + kind + b"-----\n" + content + b"-----END " + kind + b"-----\n")

    for content in (b"", b"\n", b"AAAA\n", b"\nwsBzBAABCgAd\n=aaaa\n"):
        with pytest.raises(SignatureInvalid):
            find_signer(armor(b"PGP SIGNATURE", content), keyring)
    with pytest.raises(SignatureInvalid, match="neither of OpenPGP nor of SSH"):
        find_signer(armor(b"SIGNED MESSAGE", b"AAAA\n"), keyring)


def test_a_key_that_was_revoked_and_one_that_takes_long_are_refused() -> None:
    secret = Tsk.generate("bob <bob@example.com>")
    public, signature = secret.extract_certificate(), sign(secret.signer(), b"payload", mode=SignatureMode.DETACHED)
    revoked = bytes(public) + bytes(public.revoke(secret.certifier()))
    modulus = (65535).to_bytes(2, "big") + b"\x7f" * 8192
    body = b"\4" + bytes(4) + b"\1" + modulus + b"\0\x11\1\0\1"
    slow = b"\xc6\xff" + len(body).to_bytes(4, "big") + body

    assert find_signer(Signed(b"payload", signature), read_keyring({"bob": bytes(public)}))
    with pytest.raises(SignatureInvalid):
        find_signer(Signed(b"payload", signature), read_keyring({"bob": revoked}))
    with pytest.raises(SignatureInvalid, match="longer than 4096 bytes"):
        find_signer(Signed(b"payload", signature), read_keyring({"bob": bytes(public), "slow": slow}))
