"""Which artifact a command is about, and how its registry is reached: the words of `flux push|pull artifact`."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar

import click

from gitops_core.adapters.oci import SdkLogins
from gitops_core.errors import ImageInvalid
from gitops_core.meta import Sensitive
from gitops_core.oci.credentials import ANONYMOUS, Credentials, RegistryAccess, choose_credentials, parse_entries
from gitops_core.oci.references import Image, parse_image

F = TypeVar("F", bound=Callable[..., Any])
Provider = Literal["generic", "aws", "azure", "gcp"]
PREFIX = "oci://"


class Reaching(NamedTuple):
    """What the command line says of the registry."""

    creds: str
    provider: Provider
    insecure: bool


def reaching_options(command: F) -> F:
    options = (
        click.option(
            "--creds",
            envvar="SEALOOP_CREDS",
            default="",
            metavar="USER[:PASSWORD]",
            help="Log in as this user; better in SEALOOP_CREDS. Default: Docker's configuration.",
        ),
        click.option(
            "--provider",
            type=click.Choice(["generic", "aws", "azure", "gcp"]),
            default="generic",
            show_default=True,
            help="Log in by this cloud's identity.",
        ),
        click.option("--insecure-registry", is_flag=True, help="Take any certificate, and plain HTTP."),
    )
    for option in reversed(options):
        command = option(command)
    return command


def parse_url(url: str) -> Image:
    """Parse `oci://HOST/PATH:TAG`, or `@DIGEST`. Raises ClickException."""
    if not url.startswith(PREFIX):
        raise click.ClickException(f"URL must be in format 'oci://<domain>/<org>/<repo>': {url!r} is not")
    try:
        return parse_image(url.removeprefix(PREFIX))
    except ImageInvalid as error:
        raise click.ClickException(str(error)) from None


async def make_access(image: Image, reaching: Reaching) -> RegistryAccess:
    """Log in. Raises ClickException, CredentialsInvalid, StalledError."""
    return RegistryAccess(await _find_credentials(image, reaching), unverified=reaching.insecure)


async def _find_credentials(image: Image, reaching: Reaching) -> Credentials:
    if reaching.provider != "generic":
        logins = SdkLogins()
        try:
            return await logins.login(reaching.provider, image.repository)
        finally:
            await logins.close()
    if reaching.creds:
        username, _, password = reaching.creds.partition(":")
        return Credentials(username, Sensitive(password) if password else None)
    return _read_docker_configuration(image)


def _read_docker_configuration(image: Image) -> Credentials:
    """Read ~/.docker/config.json; anonymous where there is none. Raises ClickException."""
    place = Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker") / "config.json"
    if not place.is_file():
        return ANONYMOUS
    try:
        return choose_credentials([parse_entries(place.read_bytes())], image.repository)
    except (OSError, ValueError) as error:
        raise click.ClickException(f"{place}: {error}; or say --creds") from None
