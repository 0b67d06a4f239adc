"""`sealoop secrets lint`: only the words of the command line, and what it prints; looking.py reads the checkout."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from sealoop.secrets.looking import Found


@click.command(
    epilog="""\b
Examples:
  sealoop secrets lint                                   the checkout that this folder is in
  sealoop secrets lint clusters/prod apps/web.yaml       what is there, with the rules of the whole checkout
  sealoop secrets lint --exclude 'tests/' --strict -o json
  kustomize build . | sealoop secrets lint -

\b
A finding names its rule in brackets. It is allowed by a comment in its line, or alone in the line above:
  password: example  # sealoop:allow plain-secret
or, for an object, by the annotation sealoop.dev/lint-allow: plain-secret

\b
Rules that are errors: plain-secret, plain-generator, half-encrypted, lost-block, misplaced-block, no-mac,
encrypted-configmap, unencrypted, recipients, sops-config, private-key, copied, unreadable.
Rules that are warnings: weak-mac, unparsed, too-large, unused-allow; sops-config, private-key (with a passphrase) and
copied (for the same object) may be.

\b
Exit codes: 0 no errors (there may be warnings), 1 errors, or --strict and warnings; 2 wrong usage."""
)
@click.argument("paths", nargs=-1, type=click.Path(exists=True, allow_dash=True), metavar="[PATH...]")
@click.option(
    "--exclude",
    multiple=True,
    metavar="PATTERN",
    help="Leave out what matches, as in .gitignore. Say it again for others.",
)
@click.option("--strict", is_flag=True, help="Fail for warnings too.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=1),
    metavar="SECONDS",
    default=300.0,
    show_default=True,
    help="Fail when it takes longer.",
)
@click.option("-o", "--output", type=click.Choice(["json"]), help="Print in this format. Default: text.")
def lint(paths: tuple[str, ...], exclude: tuple[str, ...], strict: bool, timeout: float, output: str | None) -> None:
    """Find secrets that can be read, and those that nobody can decrypt, in the files of a checkout.

    Without keys and without a cluster: Secrets, secretGenerators and patches whose values stand there, encrypted files
    that were taken apart, copied or never protected, files that .sops.yaml wants encrypted, or for others, and private
    keys. No value is printed.

    PATH is a folder, a file, or - for manifests on standard input; without any, the working directory. Of a Git
    checkout it reads what Git has, or would add; links are not followed, and submodules are checkouts of their own.
    """
    from gitops_core.errors import GitOpsError
    from sealoop.secrets.looking import look, look_at_text
    from sealoop.terminals import make_visible

    if "-" in paths and len(paths) > 1:
        raise click.UsageError("- stands for standard input, and alone")
    try:
        found = look_at_text(sys.stdin.buffer) if "-" in paths else look(paths or (".",), exclude, timeout)
    except GitOpsError as error:
        raise click.ClickException(make_visible(str(error))) from error
    sys.exit(_show(found, output, strict))


def _show(found: Found, output: str | None, strict: bool) -> int:
    """Print the findings; returns the exit code."""
    import msgspec

    from sealoop.terminals import make_visible

    for warning in found.notes:
        click.echo(make_visible(f"note: {warning}"), err=True)
    if output == "json":
        shown = [{name: _clean(value) for name, value in one._asdict().items()} for one in found.findings]
        click.echo(msgspec.json.format(msgspec.json.encode(shown), indent=2).decode())
    else:
        for one in found.findings:
            place = f"{one.path}:{one.line}" if one.line else one.path
            word = click.style(one.severity, fg="red" if one.severity == "error" else "yellow")
            click.echo(f"{word}: {make_visible(f'{place}: {one.message} [{one.rule}]')}")
    errors = sum(one.severity == "error" for one in found.findings)
    warnings = len(found.findings) - errors
    click.echo(f"{found.files} files: {errors} errors, {warnings} warnings", err=True)
    if found.cause:
        raise click.ClickException(make_visible(found.cause))
    return 1 if errors or (strict and warnings) else 0


def _clean(value: str | int) -> str | int:
    """Replace what stands in the name of a file and is no text."""
    return value.encode("utf-8", "surrogateescape").decode("utf-8", "replace") if isinstance(value, str) else value
