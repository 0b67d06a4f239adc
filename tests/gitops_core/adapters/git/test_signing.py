"""Signatures that the programs which everybody checks them with accept: ssh-keygen, git, and Sequoia's own verifier.

An OpenPGP signature is also taken apart here and checked by another library than the one that made it.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from pysequoia import CipherSuite, Sig, Tsk, verify
from pysequoia.packet import PacketPile, Tag

from gitops_core.adapters.git import GitMirrors
from gitops_core.adapters.git.keyfiles import TooSlow, refuse_slow_openpgp
from gitops_core.adapters.git.signing import load_signer
from gitops_core.errors import SigningFailed
from gitops_core.meta import Sensitive
from tests.contracts.test_git import change
from tests.servers.git import file_place

SshKey = ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

PAYLOAD = b"tree 0123\nauthor A <a@b> 0 +0000\n\nmessage\n"
KEYS: dict[str, Callable[[], SshKey]] = {
    "ed25519": ed25519.Ed25519PrivateKey.generate,
    "ecdsa-256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "ecdsa-384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "ecdsa-521": lambda: ec.generate_private_key(ec.SECP521R1()),
    "rsa": lambda: rsa.generate_private_key(65537, 2048),
}


def public_line(key: SshKey) -> bytes:
    return key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)


async def run(*command: str, stdin: bytes = b"", environment: dict[str, str] | None = None) -> tuple[int, str]:
    if shutil.which(command[0]) is None:
        raise FileNotFoundError(f"the tests need the program {command[0]} (Debian: openssh-client, git)")
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *command, stdin=pipe, stdout=pipe, stderr=asyncio.subprocess.STDOUT, env=environment
    )
    said, _ = await process.communicate(stdin)
    return process.returncode or 0, said.decode()


@pytest.mark.parametrize("passphrase", [b"", b"pass word"], ids=["open", "passphrase"])
@pytest.mark.parametrize("form", [PrivateFormat.OpenSSH, PrivateFormat.PKCS8], ids=["openssh", "pem"])
@pytest.mark.parametrize("kind", KEYS)
async def test_ssh_keygen_accepts_a_signature(
    kind: str, form: PrivateFormat, passphrase: bytes, tmp_path: Path
) -> None:
    key = KEYS[kind]()
    encryption = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
    values = {"identity": Sensitive(key.private_bytes(Encoding.PEM, form, encryption).rstrip())}
    if passphrase:
        values["password"] = Sensitive(passphrase)

    signature = load_signer("ssh", values, "Secret key").make_signature(PAYLOAD)

    (tmp_path / "allowed").write_bytes(b"bot@example.com " + public_line(key) + b"\n")
    (tmp_path / "signature").write_bytes(signature)
    check = ("ssh-keygen", "-Y", "verify", "-f", str(tmp_path / "allowed"), "-I", "bot@example.com", "-n", "git")
    code, said = await run(*check, "-s", str(tmp_path / "signature"), stdin=PAYLOAD)
    assert code == 0, said
    code, _ = await run(*check, "-s", str(tmp_path / "signature"), stdin=PAYLOAD + b"more")
    assert code != 0


async def test_git_verifies_a_pushed_commit(tmp_path: Path) -> None:
    key = ed25519.Ed25519PrivateKey.generate()
    identity = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    mirrors = GitMirrors(tmp_path / "state", allow_file=True)
    async with file_place(tmp_path) as place:
        repository = await place.repository("apps.git", {"a": b"1"})
        signer = await mirrors.load_signer("ssh", {"identity": Sensitive(identity)}, "Secret key")
        parent = (await repository.log())[0]

        pushed = await mirrors.get_remote(f"{place.url}/apps.git").push(
            replace(change(parent, {"a": b"2"}, "Grüße\n\nund mehr\n"), signer=signer), "main"
        )

        (tmp_path / "allowed").write_bytes(b"bot@example.com " + public_line(key) + b"\n")
        settings = ("-c", "gpg.format=ssh", "-c", f"gpg.ssh.allowedSignersFile={tmp_path / 'allowed'}")
        code, said = await run("git", *settings, f"--git-dir={repository.directory}", "verify-commit", pushed.commit)
    await mirrors.close()
    assert code == 0, said
    assert "Good" in said


def gnupg_key() -> bytes:
    """Made by GnuPG 2.2 for these tests alone, with a passphrase."""
    return (Path(__file__).parent / "data/gnupg-with-passphrase.asc").read_bytes()


@pytest.mark.parametrize("suite", ["Cv25519", "P256", "GnuPG"])
def test_an_openpgp_signature_verifies(suite: str) -> None:
    if suite == "GnuPG":
        values = {"git.asc": Sensitive(gnupg_key()), "passphrase": Sensitive("pass word")}
    else:
        made = Tsk.generate("Bot <bot@example.com>", cipher_suite=getattr(CipherSuite, suite))
        values = {"git.asc": Sensitive(str(made))}

    armor = load_signer("gpg", values, "Secret key").make_signature(PAYLOAD)

    cert = Tsk.from_bytes(values["git.asc"].reveal()).extract_certificate()
    assert armor.startswith(b"-----BEGIN PGP SIGNATURE-----\n")
    valid = verify(PAYLOAD, lambda _: [cert], signature=Sig.from_bytes(armor)).valid_sigs
    assert [found.certificate for found in valid] == [cert.fingerprint]
    with pytest.raises(Exception, match=r".+"):
        verify(PAYLOAD + b"more", lambda _: [cert], signature=Sig.from_bytes(armor))


def test_another_library_agrees_about_an_openpgp_signature() -> None:
    """RFC 9580, 5.2.3 and 5.2.4: an RSA signature over the payload and the signature's own hashed fields."""
    tsk = Tsk.generate("Bot <bot@example.com>", cipher_suite=CipherSuite.RSA2k)

    armor = load_signer("gpg", {"git.asc": Sensitive(str(tsk))}, "Secret key").make_signature(PAYLOAD)

    body = base64.b64decode(
        "".join(line for line in armor.decode().split("\n\n")[1].splitlines() if line[0] not in "-=")
    )
    packet = first_packet(body)
    version, type_, algorithm, hash_ = packet[:4]
    assert (version, type_, algorithm) == (4, 0, 1)
    digest = {8: hashlib.sha256, 10: hashlib.sha512}[hash_]
    end = 6 + int.from_bytes(packet[4:6], "big")
    hashed = PAYLOAD + packet[:end] + b"\x04\xff" + end.to_bytes(4, "big")
    number = packet[end + 2 + int.from_bytes(packet[end : end + 2], "big") + 2 :]
    signature = number[2:].rjust(256, b"\0")
    keys = [rsa_key(key) for key in packets(bytes(tsk.extract_certificate()), {6, 14})]
    chosen = {8: hashes.SHA256(), 10: hashes.SHA512()}[hash_]
    assert any(verifies(key, signature, digest(hashed).digest(), chosen) for key in keys)
    assert not any(verifies(key, signature, digest(hashed + b"x").digest(), chosen) for key in keys)


def first_packet(data: bytes) -> bytes:
    return next(packets(data, {2}))


def packets(data: bytes, tags: set[int]) -> Iterator[bytes]:
    """The bodies of an OpenPGP message's packets (new format, definite lengths)."""
    while data:
        tag, first = data[0] & 63, data[1]
        assert data[0] & 0xC0 == 0xC0
        if first < 192:
            size, start = first, 2
        elif first < 224:
            size, start = ((first - 192) << 8) + data[2] + 192, 3
        else:
            size, start = int.from_bytes(data[2:6], "big"), 6
        if tag in tags:
            yield data[start : start + size]
        data = data[start + size :]


def rsa_key(body: bytes) -> rsa.RSAPublicKey:
    bits = int.from_bytes(body[6:8], "big")
    modulus, rest = body[8 : 8 + (bits + 7) // 8], body[8 + (bits + 7) // 8 :]
    return rsa.RSAPublicNumbers(int.from_bytes(rest[2:], "big"), int.from_bytes(modulus, "big")).public_key()


def verifies(key: rsa.RSAPublicKey, signature: bytes, digest: bytes, hash_: hashes.HashAlgorithm) -> bool:
    try:
        key.verify(signature, digest, padding.PKCS1v15(), Prehashed(hash_))
    except InvalidSignature:
        return False
    return True


def pem(key: SshKey | dsa.DSAPrivateKey, passphrase: bytes = b"") -> Sensitive:
    encryption = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
    return Sensitive(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption))


BAD_SSH = {
    "missing": ({}, "has no 'identity'"),
    "garbage": ({"identity": Sensitive(b"TOPSECRET")}, "is not a private key"),
    "half": ({"identity": Sensitive(b"-----BEGIN OPENSSH PRIVATE KEY-----\nTOPSECRET\n")}, "is not a private key"),
    "locked": ({"identity": pem(KEYS["ed25519"](), b"x")}, "has a passphrase, and the Secret has no 'password'"),
    "wrong": ({"identity": pem(KEYS["ed25519"](), b"x"), "password": Sensitive("TOPSECRET")}, "is not its passphrase"),
    "weak": ({"identity": pem(rsa.generate_private_key(65537, 1024))}, "1024 bits is too weak"),
    "curve": ({"identity": pem(ec.generate_private_key(ec.SECP256K1()))}, "does not know keys of curve secp256k1"),
    "dsa": ({"identity": pem(dsa.generate_private_key(1024))}, "must be an ed25519, ecdsa or rsa key"),
}


@pytest.mark.parametrize("case", BAD_SSH)
def test_an_ssh_key_that_cannot_sign_is_said_without_showing_it(case: str) -> None:
    values, said = BAD_SSH[case]

    with pytest.raises(SigningFailed, match=said) as raised:
        load_signer("ssh", values, "Secret default/key")

    assert "Secret default/key" in str(raised.value)
    assert "TOPSECRET" not in str(raised.value)


def openssh(rounds: int) -> Sensitive:
    """A key with a passphrase that says that so many rounds of bcrypt open it."""
    encryption = PrivateFormat.OpenSSH.encryption_builder().kdf_rounds(16).build(b"x")
    written = KEYS["ed25519"]().private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, encryption)
    content = base64.b64decode(b"".join(written.splitlines()[1:-1]))
    salt = content.index(b"bcrypt") + len(b"bcrypt") + 4
    place = salt + 4 + int.from_bytes(content[salt : salt + 4], "big")
    assert content[place : place + 4] == (16).to_bytes(4, "big")
    return armored("OPENSSH", content[:place] + rounds.to_bytes(4, "big") + content[place + 4 :])


def armored(label: str, content: bytes) -> Sensitive:
    name = f"{label} PRIVATE KEY".encode()
    return Sensitive(b"-----BEGIN %s-----\n%s-----END %s-----\n" % (name, base64.encodebytes(content), name))


def pkcs8(*options: str) -> bytes:
    """A key with a passphrase as openssl writes it, in DER."""
    plain = pem(KEYS["ed25519"]()).reveal()
    command = ["openssl", "pkcs8", "-topk8", "-outform", "DER", "-passout", "pass:x", *options]
    return subprocess.run(command, input=plain, capture_output=True, check=True, timeout=60).stdout


def test_keys_with_usual_passphrases_open() -> None:
    for identity in (
        openssh(16),
        armored("ENCRYPTED", pkcs8("-iter", "600000")),
        armored("ENCRYPTED", pkcs8("-scrypt")),
    ):
        load_signer("ssh", {"identity": identity, "password": Sensitive("x")}, "Secret default/key")


def test_keys_that_take_for_ever_to_open_are_refused_before_anything_is_computed() -> None:
    few, scrypt = pkcs8("-iter", "16909060"), pkcs8("-scrypt")
    assert b"\x02\x04\x01\x02\x03\x04" in few
    assert scrypt.count(b"\x02\x01\x08\x02\x01\x01") == 1
    many = few.replace(b"\x02\x04\x01\x02\x03\x04", b"\x02\x04\x7f\xff\xff\xff")
    wide = scrypt.replace(b"\x02\x01\x08\x02\x01\x01", b"\x02\x01\x7f\x02\x01\x7f")
    cases = {
        "4294967295 rounds": openssh(2**32 - 1),
        "1001 rounds": openssh(1001),
        "2147483647 iterations": armored("ENCRYPTED", many),
        "too much memory": armored("ENCRYPTED", wide),
        "longer than": Sensitive(b"-----BEGIN PRIVATE KEY-----\n" + b"TOPSECRET" * 2000),
    }
    for said, identity in cases.items():
        with pytest.raises(SigningFailed, match=said) as raised:
            load_signer("ssh", {"identity": identity, "password": Sensitive("x")}, "Secret default/key")
        assert "TOPSECRET" not in str(raised.value)


@pytest.mark.parametrize("content", [b"", b"\x30", b"\x30\x80", b"\x30\x84\xff\xff\xff\xff", b"\x30\x03\x30\x01\x02"])
@pytest.mark.parametrize("label", ["OPENSSH", "ENCRYPTED"])
def test_a_key_file_that_is_cut_off_is_no_key(label: str, content: bytes) -> None:
    values = {"identity": armored(label, content), "password": Sensitive("x")}

    with pytest.raises(SigningFailed, match="is not a private key"):
        load_signer("ssh", values, "Secret default/key")


def test_an_openpgp_key_that_takes_much_memory_to_open_is_refused_before_anything_is_computed() -> None:
    for passes, exponent, said in (
        (1, 30, "takes 1048576 MiB of memory, to open"),
        (5, 16, "64 MiB of memory, 5 times"),
    ):
        values = {"git.asc": Sensitive(with_argon2(passes, exponent)), "passphrase": Sensitive("pass word")}

        with pytest.raises(SigningFailed, match=said):
            load_signer("gpg", values, "Secret default/key")


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize(("passes", "exponent"), [(3, 16), (1, 18)])
def test_the_memory_of_usual_openpgp_keys_is_not_too_much(version: int, passes: int, exponent: int) -> None:
    refuse_slow_openpgp(secret_packet(version, passes, exponent), bytes([version]) + b"public")


@pytest.mark.parametrize("version", [4, 6])
def test_each_version_of_openpgp_keys_says_its_memory_in_its_own_place(version: int) -> None:
    with pytest.raises(TooSlow, match="takes 512 MiB"):
        refuse_slow_openpgp(secret_packet(version, 1, 19), bytes([version]) + b"public")


@pytest.mark.parametrize("cut", [0, 2, 10, 22])
def test_an_openpgp_key_that_is_cut_off_is_no_key(cut: int) -> None:
    with pytest.raises(ValueError, match=r".+"):
        refuse_slow_openpgp(secret_packet(4, 1, 16)[: 7 + cut], b"\x04public")


def secret_packet(version: int, passes: int, exponent: int) -> bytes:
    """RFC 9580, 5.5.3: AEAD, AES256, OCB, the lengths of version 6, Argon2."""
    derived = b"\x04" + b"s" * 16 + bytes([passes, 4, exponent])
    if version == 4:
        return b"\x04public\xfd\x09\x02" + derived + b"secret"
    counted = b"\x09\x02" + bytes([len(derived)]) + derived
    return b"\x06public\xfd" + bytes([len(counted)]) + counted + b"secret"


def with_argon2(passes: int, exponent: int) -> bytes:
    """GnuPG's key, which says that it is opened by Argon2, with 2 ** exponent KiB of memory."""
    packets = [(packet.tag, packet.body) for packet in PacketPile.from_bytes(gnupg_key())]
    public = bytes(Tsk.from_bytes(gnupg_key()).extract_certificate())
    length = len(next(iter(PacketPile.from_bytes(public))).body)
    made = b""
    for (tag, body), number in zip(packets, (5, 13, 2), strict=True):  # the key, its user and their signature
        if tag == Tag.SecretKey:
            rest = body[length + 12 :]  # what stands behind usage, cipher and GnuPG's own way
            body = body[:length] + b"\xfd\x09\x02\x04" + b"s" * 16 + bytes([passes, 4, exponent]) + rest
        made += bytes([0xC0 | number, 0xFF]) + len(body).to_bytes(4, "big") + body
    return made


def test_an_openpgp_key_that_cannot_sign_is_said_without_showing_it() -> None:
    locked, other = gnupg_key(), Tsk.generate("Other <other@example.com>")
    both = bytes(Tsk.from_bytes(locked)) + bytes(other)
    public = bytes(other.extract_certificate())
    cases: dict[str, dict[str, Sensitive]] = {
        "has no 'git.asc'": {},
        "cannot be read": {"git.asc": Sensitive(b"TOPSECRET")},
        "holds 2 keys": {"git.asc": Sensitive(both)},
        "cannot sign.*no 'passphrase'": {"git.asc": Sensitive(locked)},
        "cannot sign": {"git.asc": Sensitive(locked), "passphrase": Sensitive("TOPSECRET")},
        "cannot sign.*": {"git.asc": Sensitive(public), "passphrase": Sensitive("pass word")},
    }

    for said, values in cases.items():
        with pytest.raises(SigningFailed, match=said) as raised:
            load_signer("gpg", values, "Secret default/key")
        assert "TOPSECRET" not in str(raised.value)
