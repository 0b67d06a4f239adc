"""`sealoop fields`: the table of fields on each kind's page, from the classes that describe the kinds.

    FOLDER/kustomization.md    what Kustomization's spec may say, between two comments

A field that nothing acts on yet is said to be so, by its marker in `api`; what is below it is left out.
"""

from __future__ import annotations

import inspect
import types
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

import click
import msgspec

from gitops_core.api.fields import Duration, ShortDuration
from gitops_core.meta import Resource
from gitops_core.schema.structural import join_markers
from sealoop.generating.tables import insert_table, write_markdown

COMMAND = "fields"
IGNORED = "**not acted on yet**"
_NAMES: dict[Any, str] = {str: "string", int: "integer", float: "number", bool: "boolean", bytes: "bytes, base64"}


class Field(NamedTuple):
    """A row: the path below `spec`, the type, whether it must be set or what a missing one means, and what it is."""

    path: str
    type: str
    default: str
    what: str


@click.command(
    epilog="""\b
Examples:
  sealoop fields docs/kinds
  sealoop fields docs/kinds --check"""
)
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False, exists=True), default="docs/kinds")
@click.option("--check", is_flag=True, help="Write nothing; fail when a page is not what would be written.")
def fields(folder: Path, check: bool) -> None:
    """Write the table of its fields into the page of each kind in FOLDER (default: docs/kinds)."""
    from sealoop.wiring import KINDS

    stale = []
    for kind in KINDS:
        page = folder / write_page(kind)
        present = page.read_text(encoding="utf-8") if page.exists() else ""
        wanted = insert_table(page, present, COMMAND, write_table(kind))
        if wanted != present:
            stale.append(page.name)
            if not check:
                page.write_text(wanted, encoding="utf-8")
    if check and stale:
        raise click.ClickException(f"{folder}: {', '.join(stale)} out of date; run `sealoop fields {folder}`")
    if not check:
        click.echo(f"{folder}: {len(KINDS)} pages, {len(stale)} changed")


def write_page(kind: type[Resource]) -> str:
    """Return the name of the kind's page."""
    return f"{kind.KIND.kind.lower()}.md"


def write_table(kind: type[Resource]) -> str:
    """Return what the kind's spec says of itself, and the table of its fields."""
    (spec,) = (field.type for field in msgspec.structs.fields(kind) if field.name == "spec")
    rows = [(_list(paths), *rest) for paths, rest in _join(list_spec_fields(spec))]
    return f"{_describe(spec)}\n\n{write_markdown(('field of `spec`', 'type', 'when missing', 'what'), rows)}"


def list_spec_fields(struct: type[msgspec.Struct], above: str = "") -> Iterator[Field]:
    """Yield the fields of a struct, each followed by those below it."""
    for field in msgspec.structs.fields(struct):
        path, inner = f"{above}{field.encode_name}", _strip(field.type)
        supported = join_markers(field.type).get("supported")
        item = _strip(get_args(inner)[0]) if get_origin(inner) is tuple else inner
        is_object = isinstance(item, type) and issubclass(item, msgspec.Struct)
        if supported == ():
            what = IGNORED
        elif supported is not None:
            what = f"only {_list(supported)} is acted on yet"
        else:
            what = _describe(item, first=True) if is_object else _find_meant(field.type)
        yield Field(path, _name_type(field.type), _write_default(field), what)
        if is_object and supported != ():
            yield from list_spec_fields(item, f"{path}[]." if item is not inner else f"{path}.")


def _join(rows: Iterable[Field]) -> Iterator[tuple[tuple[str, ...], tuple[str, str, str]]]:
    """Yield paths and what is said of them: those that follow each other and are not acted on alike together."""
    for said, alike in groupby(rows, key=lambda row: (row.type, row.default, row.what)):
        paths = tuple(row.path for row in alike)
        for group in (paths,) if said[2] == IGNORED else ((path,) for path in paths):
            yield group, said


def _strip(t: Any) -> Any:
    """Return the type without what is annotated and without None."""
    origin, args = get_origin(t), get_args(t)
    if origin is Annotated:
        return _strip(args[0])
    if origin in (Union, types.UnionType):
        rest = [a for a in args if a is not types.NoneType]
        return _strip(rest[0]) if len(rest) == 1 else t
    return t


def _name_type(t: Any) -> str:
    if _find_pattern(t) in (_find_pattern(Duration), _find_pattern(ShortDuration)):
        return "duration"
    inner = _strip(t)
    origin, args = get_origin(inner), get_args(inner)
    if origin is Literal:
        return _list(args)
    if origin is tuple:
        return f"list of {_name_type(args[0])}"
    if origin is dict:
        return "object" if args[1] is Any else f"map of {_name_type(args[1])}"
    if origin in (Union, types.UnionType):
        return " or ".join(map(_name_type, args))
    if isinstance(inner, type) and issubclass(inner, msgspec.Struct):
        return "object"
    return _NAMES.get(inner, "date" if inner.__name__ == "datetime" else inner.__name__)


def _find_pattern(t: Any) -> str | None:
    if get_origin(t) in (Union, types.UnionType):
        return next((found for a in get_args(t) if (found := _find_pattern(a))), None)
    return next((m.pattern for m in getattr(t, "__metadata__", ()) if m.pattern), None)


def _write_default(field: msgspec.structs.FieldInfo) -> str:
    if field.required:
        return "required"
    value = field.default if field.default is not msgspec.NODEFAULT else field.default_factory()
    if value is None or value in ("", (), {}, b"") or isinstance(value, msgspec.Struct):
        return ""
    return _list(value if isinstance(value, tuple) else (value,))


def _find_meant(t: Any) -> str:
    return next((m.description for m in getattr(t, "__metadata__", ()) if m.description), "")


def _describe(struct: type[msgspec.Struct], *, first: bool = False) -> str:
    """Return the struct's docstring as running text; of its paragraphs the first only, if that is wanted."""
    text = inspect.cleandoc(struct.__doc__ or "")
    if text.startswith(f"{struct.__name__}("):  # msgspec writes a signature where there is no docstring
        return ""
    paragraphs = [" ".join(p.split()).replace("|", "\\|") for p in text.split("\n\n")]
    return paragraphs[0] if first else "\n\n".join(paragraphs)


def _list(values: tuple[Any, ...]) -> str:
    return ", ".join(f"`{str(v).lower() if isinstance(v, bool) else v}`" for v in values if v != "")
