"""The Cluster port on a real Kubernetes API server: `KubernetesCluster`."""

from gitops_core.adapters.kubernetes.cluster import KubernetesCluster
from gitops_core.adapters.kubernetes.clusters import KubernetesClusters
from gitops_core.adapters.kubernetes.kubeconfig import ConfigurationError

__all__ = ["ConfigurationError", "KubernetesCluster", "KubernetesClusters"]
