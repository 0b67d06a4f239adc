"""What can go wrong between a provider and a Secret.

    TransientError
    ├── SecretNotFound       the provider has no such key, and the deletionPolicy says that this is a failure
    ├── PropertyNotFound     the key is there, what the property names is not
    ├── PropertyTooCostly    what the property names was not looked for to the end: nobody knows whether it is there
    ├── FindTooWide          there is more than a find may list, mean or read: nobody knows what is missing
    ├── ValueUnusable        the value is not what the entry says: no JSON object, no base64, a key no Secret may have
    ├── AccessDenied         the credentials are wrong or too weak
    ├── ProviderUnavailable  network trouble, throttling, a 5xx, nonsense
    │   ├── NoAnswer         nothing came back in time
    │   └── NoPlace          it was not asked: too many of the namespace's requests wait for it
    └── WriteFailed          the API server did not take the Secret
    StalledError
    ├── StoreNotReady        no such store, or one that is not validated: its change wakes
    ├── StoreInvalid         the store's settings or credentials need an edit
    ├── NotSupported         a field that decides what the Secret holds and that we cannot act on
    ├── FindInvalid          a find that means nothing: its regular expression or its path is none
    ├── TargetTaken          another owner has the Secret
    └── TargetImmutable      the Secret is immutable and would have to change

No message quotes a value: JSON and base64 errors say where and what for, never what was there.
"""

from __future__ import annotations

from gitops_core.errors import StalledError, TransientError


class SecretNotFound(TransientError):
    reason = "SecretNotFound"


class PropertyNotFound(TransientError):
    reason = "PropertyNotFound"

    def __init__(self, where: str, key: str, property_: str) -> None:
        super().__init__(f"{where}: key {key!r} has no property {property_!r}")


class PropertyTooCostly(TransientError):
    reason = "TooCostly"

    def __init__(self, where: str, key: str, property_: str, cause: str) -> None:
        shown = property_ if len(property_) <= 80 else f"{property_[:80]}..."
        super().__init__(
            f"{where}: key {key!r}, property {shown!r}: {cause}: shorten the path, or store the value under a key of "
            "its own",
            retry_after=600.0,
        )


class FindTooWide(TransientError):
    reason = "TooCostly"

    def __init__(self, where: str, path: str, excess: str) -> None:
        super().__init__(f"{where}: {excess} below {path or '/'!r}: narrow path or name.regexp", retry_after=600.0)


class ValueUnusable(TransientError):
    reason = "ValueUnusable"


class AccessDenied(TransientError):
    reason = "AccessDenied"


class ProviderUnavailable(TransientError):
    reason = "ProviderUnavailable"


class NoAnswer(ProviderUnavailable):
    pass


class NoPlace(ProviderUnavailable):
    pass


class WriteFailed(TransientError):
    reason = "WriteFailed"


class StoreNotReady(StalledError):
    reason = "StoreNotReady"


class StoreInvalid(StalledError):
    reason = "InvalidProviderConfig"


class NotSupported(StalledError):
    reason = "NotSupported"


class FindInvalid(StalledError):
    reason = "InvalidFind"


class TargetTaken(StalledError):
    reason = "TargetTaken"


class TargetImmutable(StalledError):
    reason = "TargetImmutable"
