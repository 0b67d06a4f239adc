"""Says how an OCI registry is named, reached and trusted with what proves us to it. Nothing here asks a registry.

Whether somebody signed what a registry sends is in `cosign`.
"""
