"""OCI registries as every package asks them: tags, digests, manifests and blobs, with whatever proof they want."""

from gitops_core.adapters.oci.logins import SdkLogins as SdkLogins
from gitops_core.adapters.oci.registry import FetchedManifest as FetchedManifest
from gitops_core.adapters.oci.registry import OciRegistry as OciRegistry
