"""What an object is told that sets fields which nothing acts on: something that can be done."""

from __future__ import annotations

from typing import Annotated, ClassVar

import pytest

from gitops_core.errors import StalledError
from gitops_core.meta import Kind, ObjectMeta, Resource, Wire
from gitops_core.runtime.loop.refusing import refuse_unsupported
from gitops_core.schema import UNSUPPORTED, only


class HoseSpec(Wire):
    type: Annotated[str, only("round", "flat")]
    end: Annotated[str, only("open")] = "open"
    color: Annotated[str, UNSUPPORTED] = ""
    length: Annotated[int, UNSUPPORTED] = 0


class Hose(Resource):
    """A thing with fields that are acted on in part."""

    KIND: ClassVar[Kind] = Kind("test.sealoop.dev", "v1", "Hose")
    PLURAL: ClassVar[str] = "hoses"

    spec: HoseSpec


def advice(spec: HoseSpec, harmless: tuple[str, ...] = (), **acts_on: tuple[str, ...]) -> str:
    values = {f"spec.{name}": values for name, values in acts_on.items()}
    with pytest.raises(StalledError) as refused:
        refuse_unsupported(Hose(metadata=ObjectMeta(name="a", namespace="shop"), spec=spec), harmless, values)
    return str(refused.value).removeprefix("Hose/shop/a sets what is not supported yet, nothing was done: ")


def test_fields_are_to_be_removed_and_values_to_be_others() -> None:
    spec = HoseSpec(type="square", end="closed", color="red", length=3)

    assert advice(spec) == "remove spec.color, spec.length, set spec.type to round or flat, set spec.end to open"
    assert advice(spec, ("spec.color", "spec.type")) == "remove spec.length, set spec.end to open"


def test_the_values_of_a_table_count_before_those_of_the_marker() -> None:
    assert advice(HoseSpec(type="flat"), type=("round", "oval", "thin")) == "set spec.type to round, oval or thin"
