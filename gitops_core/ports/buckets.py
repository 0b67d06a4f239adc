"""Object stores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from gitops_core.domain.sources.buckets import StoredObject
from gitops_core.errors import BucketUnavailable
from gitops_core.meta import (
    Sensitive,
)
from gitops_core.oci.credentials import OPEN, RegistryAccess
from gitops_core.ports.clouds import AwsKeys


@dataclass(frozen=True)
class BucketPlace:
    """One bucket, and how it is reached.

    Attributes:
        endpoint: `https://HOST[:PORT]`, or http.
        keys: sign each request; a bearer token is sent with each; neither is anonymous.
        trust: certificates and proxy; its credentials play no part.
    """

    endpoint: str
    name: str
    region: str = ""
    keys: AwsKeys | None = None
    bearer_token: Sensitive | None = None
    trust: RegistryAccess = OPEN


class Buckets(Protocol):
    """Buckets of object stores that speak S3's API.

    Every method raises BucketUnavailable (network, time-out, 5xx, an answer that is none), BucketDenied and
    BucketUnknown.
    """

    async def check(self, place: BucketPlace) -> None:
        """Check that the bucket is there. Raises as all do."""
        ...

    async def list_objects(self, place: BucketPlace, prefix: str, *, most: int) -> tuple[StoredObject, ...]:
        """List the objects whose keys begin with `prefix`, from all pages. Raises BucketUnavailable: beyond `most`."""
        ...

    async def fetch(self, place: BucketPlace, key: str, *, limit: int) -> tuple[bytes, str]:
        """Return the contents of an object, and its ETag as it is now.

        Raises:
            ObjectUnknown; BucketUnavailable: also for more than `limit` bytes.
        """
        ...


class NoBuckets:
    """Implements Buckets where no object store is asked."""

    async def check(self, place: BucketPlace) -> None:
        raise BucketUnavailable(f"{place.endpoint} is not asked: this process has no object stores")

    async def list_objects(self, place: BucketPlace, prefix: str, *, most: int) -> tuple[StoredObject, ...]:
        raise BucketUnavailable(f"{place.endpoint} is not asked: this process has no object stores")

    async def fetch(self, place: BucketPlace, key: str, *, limit: int) -> tuple[bytes, str]:
        raise BucketUnavailable(f"{place.endpoint} is not asked: this process has no object stores")
