"""Random structural schemas, and random values of any schema: mostly fitting, from few values, so that writes meet."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

Schema = dict[str, Any]

NAMES = "abcd"
ODD: tuple[Any, ...] = (1, "1", 2.0, True, [], {}, [1], [None], {"a": 1}, {"a": None}, [{}], [{"a": "p"}])
FREE: tuple[Any, ...] = (1, "1", True, None, [1, {"a": 1}], {"x": "1"}, {}, {"x": {"y": [2]}}, 1.5, 2.0, [None])
SCALARS: dict[str, tuple[Any, ...]] = {
    "string": ("p", "q", "r", ""),
    "integer": (0, 1, 2, 2, 2.0, 10),
    "number": (0, 1, 1.0, 1.5, 1e20, 1e21, 1e-7, 0.1),
    "boolean": (True, False),
    "byte": ("eA==", "eQ==", "eA", ""),
    "date-time": ("2020-01-01T00:00:00Z", "2020-01-01T00:00:00.0Z", "2020-01-01T01:00:00+01:00", "2020-01-01"),
}
KEYED = {"x-kubernetes-list-type": "map"}
EMBEDDED = "x-kubernetes-embedded-resource"
PRESERVE = "x-kubernetes-preserve-unknown-fields"


class Values:
    """Values for schemas.

    Args:
        odd: the share of values that are of another type than the schema says; as many are null, repeated or unknown.
    """

    def __init__(self, chance: random.Random, odd: float = 0.02) -> None:
        self._chance, self._odd = chance, odd

    def of(self, schema: Schema) -> Any:
        if self._seldom():
            return self._chance.choice((None, *ODD))
        if schema.get("nullable") and self._chance.random() < 0.3:
            return None
        if "enum" in schema:
            return self._chance.choice(schema["enum"])
        match schema.get("type"):
            case "object":
                return self._object(schema)
            case "array":
                return self._list(schema)
            case str(name):
                format_ = schema.get("format", "")
                return self._chance.choice(SCALARS.get(format_, SCALARS[name]))
            case _ if schema.get("x-kubernetes-int-or-string"):
                return self._chance.choice((1, 2, "1", "25%", 1.0))
        return self._chance.choice(FREE)

    def _seldom(self) -> bool:
        return self._chance.random() < self._odd

    def _object(self, schema: Schema) -> dict[str, Any]:
        properties, required = schema.get("properties", {}), schema.get("required", ())
        made = self._meta() if schema.get(EMBEDDED) else {}
        for name, inner in properties.items():
            if self._chance.random() < 0.45 or (name in required and not self._seldom()):
                made[name] = self.of(inner)
        if isinstance(others := schema.get("additionalProperties"), dict):
            fewest = schema.get("minProperties", 0)
            made |= {name: self.of(others) for name in self._some(NAMES) or list(NAMES)[:fewest]}
        if schema.get(PRESERVE):
            made |= {name: self._chance.choice(FREE) for name in self._some("xyz") if name not in properties}
        if self._seldom():
            made["unknown"] = self._chance.choice(FREE)
        return made

    def _meta(self) -> dict[str, Any]:
        metadata: dict[str, Any] = {"name": self._chance.choice("pq")}
        for name in self._some(("labels", "annotations")):
            metadata[name] = {n: self._chance.choice("12") for n in self._some("ab")}
        if self._chance.random() < 0.1:
            metadata[self._chance.choice(("name", "labels", "unknown", "namespace", "uid"))] = self._chance.choice(
                ("", "A", "x", 1, None, {"a": 1}, {}, [])
            )
        made: dict[str, Any] = {"apiVersion": self._chance.choice(("v1", "a/v1")), "kind": "P", "metadata": metadata}
        if self._chance.random() < 0.08:
            made[self._chance.choice(sorted(made))] = self._chance.choice(("", "a/b/c", "1", 1, None, {}, []))
        if self._chance.random() < 0.08:
            del made[self._chance.choice(sorted(made))]
        return made

    def _list(self, schema: Schema) -> list[Any]:
        items = [self.of(schema["items"]) for _ in range(self._chance.randint(0, 3))]
        if schema.get("x-kubernetes-list-type", "atomic") == "atomic":
            return items
        # 2 and 2.0 are two items of a set to the API server until they are stored, and then one: not followed here
        items = [_whole(item) for item in items]
        if self._chance.random() < 0.85:
            keys = schema.get("x-kubernetes-list-map-keys", ())
            items = list({_identity(schema, keys, item): item for item in items}.values())
        return items

    def _some(self, names: Any) -> list[Any]:
        return self._chance.sample(list(names), self._chance.randint(0, min(3, len(names))))


def _whole(value: Any) -> Any:
    match value:
        case dict():
            return {name: _whole(inner) for name, inner in value.items()}
        case list():
            return [_whole(item) for item in value]
        case float() if value.is_integer() and abs(value) < 1e21:
            return int(value)
    return value


def _identity(schema: Schema, keys: Any, item: Any) -> str:
    if not isinstance(item, dict) or not keys:
        return repr(item)
    properties = schema["items"]["properties"]
    return repr([item.get(key, properties[key].get("default")) for key in keys])


class Schemas:
    """Random schemas, such as the API server takes for a CRD; a default now and then is one that it refuses."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._exact = Values(chance, odd=0.0)

    def object(self, depth: int = 3) -> Schema:
        return {"type": "object", "properties": {name: self._any(depth) for name in "abcdefgh"}}

    def changed(self, schema: Schema) -> Schema:
        """A schema like this one: some fields are gone, or have another type, another default or none."""
        properties = {}
        for name, inner in schema["properties"].items():
            match self._chance.randrange(8):
                case 0:
                    continue
                case 1:
                    properties[name] = self._any(1)
                case 2:
                    properties[name] = {key: value for key, value in inner.items() if key != "default"}
                case 3:
                    properties[name] = {**inner, "default": self._default(inner)}
                case 4:
                    properties[name] = {**inner, "nullable": not inner.get("nullable")}
                case _:
                    properties[name] = self.changed(inner) if "properties" in inner else inner
        if self._chance.random() < 0.3:
            properties["z"] = self._any(1)
        required = [name for name in schema.get("required", ()) if name in properties]
        return {**schema, "properties": properties, **({"required": required} if "required" in schema else {})}

    def _any(self, depth: int) -> Schema:
        makers: list[Callable[[int], Schema]] = [self._scalar, self._scalar, self._scalar, self._free]
        if depth:
            makers += [self._struct, self._map, self._embedded, self._atomic, self._set, self._keyed, self._keyed]
        schema = self._chance.choice(makers)(depth - 1)
        if self._chance.random() < 0.15:
            schema["nullable"] = True
        if self._chance.random() < 0.35:
            schema["default"] = self._default(schema)
        return schema

    def _default(self, schema: Schema) -> Any:
        if schema.get("type") in ("object", "array") and self._chance.random() < 0.6:
            return {} if schema["type"] == "object" else []
        return self._exact.of(schema)

    def _scalar(self, _: int = 0) -> Schema:
        match self._chance.randrange(9):
            case 0:
                return {"x-kubernetes-int-or-string": True}
            case 1:
                return {"type": "string", "enum": ["p", "q"]}
            case 2:
                return {"type": "string", "format": self._chance.choice(("byte", "date-time"))}
            case _:
                return {"type": self._chance.choice(("string", "string", "integer", "number", "boolean"))}

    def _free(self, _: int) -> Schema:
        return self._chance.choice(({PRESERVE: True}, {"type": "object", PRESERVE: True}))

    def _struct(self, depth: int) -> Schema:
        schema: Schema = {"type": "object", "properties": {name: self._any(depth) for name in self._names()}}
        if self._chance.random() < 0.3:
            schema["required"] = [self._chance.choice(sorted(schema["properties"]))]
        if self._chance.random() < 0.2:
            schema["x-kubernetes-map-type"] = "atomic"
        if self._chance.random() < 0.15:
            schema[PRESERVE] = True
        return schema

    def _map(self, depth: int) -> Schema:
        schema: Schema = {"type": "object", "additionalProperties": self._any(depth)}
        return {**schema, **({"x-kubernetes-map-type": "atomic"} if self._chance.random() < 0.2 else {})}

    def _embedded(self, depth: int) -> Schema:
        schema: Schema = {"type": "object", EMBEDDED: True, PRESERVE: True}
        if self._chance.random() < 0.5:
            del schema[PRESERVE]
            schema["properties"] = {"a": self._any(depth), "metadata": {"type": "object"}}
        return schema

    def _atomic(self, depth: int) -> Schema:
        return {"type": "array", "items": self._any(depth)}

    def _set(self, _: int) -> Schema:
        items: Schema = {"type": self._chance.choice(("string", "integer", "number", "boolean"))}
        if self._chance.random() < 0.2:
            items = {"type": "object", "additionalProperties": {"type": "string"}, "x-kubernetes-map-type": "atomic"}
        return {"type": "array", "items": items, "x-kubernetes-list-type": "set"}

    def _keyed(self, depth: int) -> Schema:
        keys = self._chance.sample("kl", self._chance.randint(1, 2))
        properties: dict[str, Schema] = {name: self._any(depth) for name in self._names()}
        required = []
        for key in keys:
            properties[key] = {"type": self._chance.choice(("string", "integer", "boolean"))}
            if self._chance.random() < 0.5:
                properties[key]["default"] = SCALARS[properties[key]["type"]][0]
            else:
                required.append(key)
        items = {"type": "object", "properties": properties, **({"required": required} if required else {})}
        return {"type": "array", "items": items, **KEYED, "x-kubernetes-list-map-keys": keys}

    def _names(self) -> Iterator[str]:
        return iter(self._chance.sample(NAMES, self._chance.randint(1, 3)))
