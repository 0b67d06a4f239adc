"""`sealoop demo`: the whole loop once, for real, on an embedded cluster.

    world.py      a Git remote, a registry and a secret store on loopback, and the folder that everything is left in
    observing.py  what the cluster says, as it says it
    story.py      the steps: each waits for something to be so, and fails when it does not come
    serving.py    the three servers alone, for the loop by hand (docs/quickstart.md)

Nothing is told that was not seen: the process under way is the ordinary `sealoop run`, and a step that does not happen
in time ends the demo with exit code 1.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import click

from sealoop.demo.serving import PortTaken, serve
from sealoop.demo.story import StepFailed, tell
from sealoop.demo.world import FolderTaken, World


@click.command()
@click.option(
    "--dir",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("sealoop-demo"),
    show_default=True,
    help="Leave everything in this folder, which each run makes anew.",
)
@click.option("--servers", is_flag=True, help="Only serve Git repositories of DIR/git, a registry and a secret store.")
@click.option("--port", default=8300, show_default=True, help="With --servers, use this port and the two that follow.")
@click.option("--patience", default=60.0, show_default=True, help="Give up when a step takes more seconds.")
def demo(folder: Path, servers: bool, port: int, patience: float) -> None:
    """Show the whole loop once, on an embedded cluster.

    Makes a Git remote, a registry and a secret store on loopback, starts the service, pushes a new image tag and
    rotates a secret, and shows what happens and how long each step takes. Needs no cluster, only git.
    """

    async def work() -> None:
        async with World.make(folder) as world:
            await tell(world, patience)

    if servers:
        (folder / "git").mkdir(parents=True, exist_ok=True)
    try:
        asyncio.run(serve(folder / "git", port) if servers else work())
    except (StepFailed, FolderTaken, PortTaken) as error:
        raise click.ClickException(str(error)) from error
    except KeyboardInterrupt:
        sys.exit(130)
