"""Fixtures of the whole test suite: each module named here owns one real server or one embedded thing."""

pytest_plugins: list[str] = [
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
