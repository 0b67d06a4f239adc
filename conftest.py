"""Fixtures and rules of the whole test suite: each module named here owns one real server, embedded thing or rule."""

pytest_plugins: list[str] = [
    "tests.garbage",
    "tests.local",
    "tests.properties",
    "tests.servers.aws",
    "tests.servers.controlplane",
    "tests.servers.gitea",
    "tests.servers.registry",
    "tests.servers.vault",
    "tests.signals",
    "tests.workers",
]
