"""A success is an Event once, however much it has to say."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import cast

import pytest

from gitops_core.api.fields import NamespacedReference
from gitops_core.meta import ObjectMeta
from gitops_core.runtime.loop.tellers import FLUX
from gitops_core.runtime.reconciling import Outcome
from image_updater.api import ImagePolicy, ImagePolicySpec, ImagePolicyStatus
from image_updater.api.images import PolicyChoice
from image_updater.reconcilers.notices import make_ready_notices


@pytest.mark.parametrize("message", ["Latest image tag is 1.2.3", "Latest image tag is 1.2.3" + ", and more" * 5000])
def test_a_repeated_message_is_no_second_event(message: str) -> None:
    metadata = ObjectMeta(name="app", namespace="shop", generation=1)
    spec = ImagePolicySpec(image_repository_ref=NamespacedReference(name="app"), policy=PolicyChoice())
    fresh = ImagePolicy(metadata=metadata, spec=spec, status=ImagePolicyStatus())
    now = datetime(2026, 1, 1, tzinfo=UTC)
    status = cast(ImagePolicyStatus, FLUX.make_status(Outcome(ImagePolicyStatus(), message, None), fresh, now, ()))
    known = ImagePolicy(metadata=metadata, spec=spec, status=status)

    assert [notice.reason for notice in make_ready_notices(fresh, message)] == ["Succeeded"]
    assert make_ready_notices(known, message) == ()
