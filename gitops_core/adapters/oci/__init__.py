"""OCI registries as every package asks them: tags, digests, manifests and blobs, with whatever proof they want."""

from gitops_core.adapters.oci.answers import explain_connection as explain_connection
from gitops_core.adapters.oci.artifacts import RegistryArtifacts as RegistryArtifacts
from gitops_core.adapters.oci.logins import SdkLogins as SdkLogins
from gitops_core.adapters.oci.manifests import Descriptor as Descriptor
from gitops_core.adapters.oci.manifests import OciManifest as OciManifest
from gitops_core.adapters.oci.manifests import Platform as Platform
from gitops_core.adapters.oci.manifests import decode_body as decode_body
from gitops_core.adapters.oci.manifests import fetch_by_digest as fetch_by_digest
from gitops_core.adapters.oci.manifests import limit_labels as limit_labels
from gitops_core.adapters.oci.registry import FetchedManifest as FetchedManifest
from gitops_core.adapters.oci.registry import OciRegistry as OciRegistry
from gitops_core.adapters.oci.sessions import Sessions as Sessions
from gitops_core.adapters.oci.sessions import find_http_proxy as find_http_proxy
from gitops_core.adapters.oci.signatures import Signatures as Signatures
