"""The embedded cluster. `LocalCluster` is its port, `workloads.run` its controllers and kubelet."""

from gitops_core.adapters.local.cluster import LocalCluster

__all__ = ["LocalCluster"]
