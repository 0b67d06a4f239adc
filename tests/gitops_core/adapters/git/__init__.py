"""Tests of gitops_core.adapters.git, beside the contract in tests/contracts/test_git.py."""
