"""Tests of gitops_core.oci."""
