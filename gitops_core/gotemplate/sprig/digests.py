"""sprig's digests, derived passwords, and what makes random values: that is refused, for a message is made twice alike.

Source: Masterminds/sprig v3.3, crypto.go.
"""

from __future__ import annotations

import hashlib
import hmac
import zlib
from collections.abc import Callable, Mapping

from gitops_core.gotemplate.constants import to_bytes
from gitops_core.gotemplate.errors import CallError
from gitops_core.gotemplate.functions import Function
from gitops_core.gotemplate.values import Value

_SEED = b"com.lyndir.masterpassword"
_TEMPLATES = {
    "maximum": "anoxxxxxxxxxxxxxxxxx axxxxxxxxxxxxxxxxxno",
    "long": "CvcvnoCvcvCvcv CvcvCvcvnoCvcv CvcvCvcvCvcvno CvccnoCvcvCvcv CvccCvcvnoCvcv CvccCvcvCvcvno CvcvnoCvccCvcv "
    "CvcvCvccnoCvcv CvcvCvccCvcvno CvcvnoCvcvCvcc CvcvCvcvnoCvcc CvcvCvcvCvccno CvccnoCvccCvcv CvccCvccnoCvcv "
    "CvccCvccCvcvno CvcvnoCvccCvcc CvcvCvccnoCvcc CvcvCvccCvccno CvccnoCvcvCvcc CvccCvcvnoCvcc CvccCvcvCvccno",
    "medium": "CvcnoCvc CvcCvcno",
    "short": "Cvcn",
    "basic": "aaanaaan aannaaan aaannaaa",
    "pin": "nnnn",
}
_CHARACTERS = {
    "V": "AEIOU",
    "C": "BCDFGHJKLMNPQRSTVWXYZ",
    "v": "aeiou",
    "c": "bcdfghjklmnpqrstvwxyz",
    "A": "AEIOUBCDFGHJKLMNPQRSTVWXYZ",
    "a": "AEIOUaeiouBCDFGHJKLMNPQRSTVWXYZbcdfghjklmnpqrstvwxyz",
    "n": "0123456789",
    "o": "@&%?,=[]_:-+*$#!'^~;()/.",
    "x": "AEIOUaeiouBCDFGHJKLMNPQRSTVWXYZbcdfghjklmnpqrstvwxyz0123456789!@#$%^&*()",
}
_RANDOM = {
    "shuffle": "string",
    "randInt": "int, int",
    "bcrypt": "string",
    "htpasswd": "string, string",
    "genPrivateKey": "string",
    "genCA": "string, int",
    "genCAWithKey": "string, int, string",
    "genSelfSignedCert": "string, any, any, int",
    "genSelfSignedCertWithKey": "string, any, any, int, string",
    "genSignedCert": "string, any, any, int, any",
    "genSignedCertWithKey": "string, any, any, int, any, string",
    "encryptAES": "string, string",
    "ago": "any",
}
_KEYS = {"decryptAES": "string, string", "buildCustomCert": "string, string"}


def derive_password(counter: int, kind: str, password: str, user: str, site: str) -> str:
    if kind not in _TEMPLATES:
        return f"cannot find password template {kind}"
    salt = _SEED + len(to_bytes(user)).to_bytes(4, "big") + to_bytes(user)
    key = hashlib.scrypt(to_bytes(password), salt=salt, n=32768, r=8, p=2, maxmem=1 << 26, dklen=64)
    asked = _SEED + len(to_bytes(site)).to_bytes(4, "big") + to_bytes(site) + counter.to_bytes(4, "big")
    seed = hmac.new(key, asked, hashlib.sha256).digest()
    templates = _TEMPLATES[kind].split()
    template = templates[seed[0] % len(templates)]
    choices = [_CHARACTERS[letter] for letter in template]
    return "".join(choice[number % len(choice)] for choice, number in zip(choices, seed[1:], strict=False))


def _refuse(name: str, why: str) -> Callable[..., Value]:
    def refuse(*_: Value) -> Value:
        raise CallError(f"{name} {why}")

    return refuse


DIGESTS: Mapping[str, Function] = {
    "sha1sum": Function("string", lambda text: hashlib.sha1(to_bytes(text), usedforsecurity=False).hexdigest()),
    "sha256sum": Function("string", lambda text: hashlib.sha256(to_bytes(text)).hexdigest()),
    "sha512sum": Function("string", lambda text: hashlib.sha512(to_bytes(text)).hexdigest()),
    "adler32sum": Function("string", lambda text: str(zlib.adler32(to_bytes(text)))),
    "derivePassword": Function("uint32, string, string, string, string", derive_password),
    **{
        n: Function(takes, _refuse(n, "gives another result each time: it cannot be used here"))
        for n, takes in _RANDOM.items()
    },
    **{n: Function(takes, _refuse(n, "works on private keys: it cannot be used here")) for n, takes in _KEYS.items()},
}
