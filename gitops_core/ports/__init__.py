"""What the kernel needs from the world, each a Protocol with its contract.

A contract test in tests/contracts/ states what every implementation does; adapters/ holds the implementations. Adapters
translate every failure into gitops_core.errors, retry only what their peer turned away, never log bodies.

    computing    time, chance and computing          registries   artifacts, logins of the clouds' registries
    cluster      an API server, and what the         clouds       who we are to the big clouds
                 runtime keeps of it                 buckets      object stores
    git          remotes, mirrors, commits, trees    building     builds, decryption, expressions
"""

from __future__ import annotations

from gitops_core.domain.sources.buckets import StoredObject
from gitops_core.ports.buckets import BucketPlace, Buckets, NoBuckets
from gitops_core.ports.building import Decryptor, Expressions, Overlay, Renderer, UsedFiles
from gitops_core.ports.clouds import NO_CLOUDS, AwsKeys, CloudIdentity, Clouds, FoundCluster, NoClouds
from gitops_core.ports.cluster import (
    AccountToken,
    ApiResource,
    Change,
    Cluster,
    Clusters,
    Events,
    Images,
    Objects,
    Page,
    PartialObject,
    Pushes,
    Query,
    RemoteCluster,
    Statuses,
    Target,
    Unreadable,
    WatchEvent,
)
from gitops_core.ports.computing import Chance, Clock, Compute
from gitops_core.ports.git import (
    Commit,
    CommitInfo,
    Git,
    GitAccess,
    GitHubApp,
    GitRef,
    GitRemote,
    Signature,
    Signer,
    Trees,
    WriteAccess,
    is_never_ours,
)
from gitops_core.ports.registries import ArtifactLayer, Artifacts, CloudLogins, NoArtifacts, NoCloudLogins, OciArtifact
from gitops_core.ports.remotes import Remotes

__all__ = [
    "NO_CLOUDS",
    "AccountToken",
    "ApiResource",
    "ArtifactLayer",
    "Artifacts",
    "AwsKeys",
    "BucketPlace",
    "Buckets",
    "Chance",
    "Change",
    "Clock",
    "CloudIdentity",
    "CloudLogins",
    "Clouds",
    "Cluster",
    "Clusters",
    "Commit",
    "CommitInfo",
    "Compute",
    "Decryptor",
    "Events",
    "Expressions",
    "FoundCluster",
    "Git",
    "GitAccess",
    "GitHubApp",
    "GitRef",
    "GitRemote",
    "Images",
    "NoArtifacts",
    "NoBuckets",
    "NoCloudLogins",
    "NoClouds",
    "Objects",
    "OciArtifact",
    "Overlay",
    "Page",
    "PartialObject",
    "Pushes",
    "Query",
    "RemoteCluster",
    "Remotes",
    "Renderer",
    "Signature",
    "Signer",
    "Statuses",
    "StoredObject",
    "Target",
    "Trees",
    "Unreadable",
    "UsedFiles",
    "WatchEvent",
    "WriteAccess",
    "is_never_ours",
]
