"""Tests of gitops_core.adapters.oci."""
