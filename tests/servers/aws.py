"""AWS on loopback: moto's server, for the session."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.servers.programs import answers, free_port, running


@pytest.fixture(scope="session")
def aws_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Yield the URL of every service's endpoint."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with running(
        ["moto_server", "-H", "127.0.0.1", "-p", str(port)],
        folder=tmp_path_factory.mktemp("aws"),
        ready=lambda: answers(f"{url}/moto-api/"),
        timeout=60.0,
    ):
        yield url
