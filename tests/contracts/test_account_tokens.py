"""Tokens of service accounts: for whom they prove something, and that the embedded cluster has none."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from gitops_core.adapters.kubernetes import KubernetesCluster
from gitops_core.adapters.local import LocalCluster
from gitops_core.errors import BadRequest, Forbidden, NotFound
from gitops_core.meta import ObjectKey
from tests.servers.controlplane import ControlPlane

OWN = "https://kubernetes.default.svc"


async def test_a_token_is_good_for_those_it_was_asked_for_and_for_an_hour(
    real_cluster: KubernetesCluster, control_plane: ControlPlane
) -> None:
    namespace = control_plane.namespace("tokens")
    control_plane.service_account(namespace, "deployer")
    account = ObjectKey(namespace, "deployer")

    own, foreign = await real_cluster.request_token(account), await real_cluster.request_token(account, ["far", "away"])

    assert (own.audiences, foreign.audiences) == ((OWN,), ("far", "away"))
    assert timedelta(minutes=50) < own.expires - datetime.now(UTC) <= timedelta(minutes=61)
    review = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
    asked = [control_plane.call("POST", review, {}, token=each.token.reveal_text()).status for each in (own, foreign)]
    assert asked == [201, 401]


async def test_nobody_gets_a_token_of_an_account_that_is_not_there_or_without_the_right(
    real_cluster: KubernetesCluster, control_plane: ControlPlane
) -> None:
    namespace = control_plane.namespace("tokens")
    with pytest.raises(NotFound, match=f"^ServiceAccount/{namespace}/nobody not found$"):
        await real_cluster.request_token(ObjectKey(namespace, "nobody"))
    control_plane.service_account(namespace, "deployer")
    with pytest.raises(Forbidden, match='"jane" cannot create resource "serviceaccounts/token"'):
        await real_cluster.impersonate("jane").request_token(ObjectKey(namespace, "deployer"))


async def test_the_embedded_cluster_gives_none(local_cluster: LocalCluster) -> None:
    with pytest.raises(BadRequest, match="the embedded cluster gives no tokens, also not of ServiceAccount/shop/web"):
        await local_cluster.request_token(ObjectKey("shop", "web"))
