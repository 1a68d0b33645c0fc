"""Documents for JSON schemas: what `response_format` and the parameters of tools ask for."""

import math
from collections.abc import Callable
from typing import Any

_FORMATS = {
    "date-time": "2026-01-01T00:00:00Z",
    "date": "2026-01-01",
    "time": "00:00:00Z",
    "email": "nobody@example.com",
    "uri": "https://example.com/",
    "uuid": "00000000-0000-4000-8000-000000000000",
}
_DEEP = 6  # from here on only what must be there, so that a schema which contains itself comes to an end
_LARGEST = 5000


class UnfillableError(ValueError):
    """A schema without a finite document, or one that the double does not understand."""


def fill(schema: dict[str, Any], text: str, pick: Callable[[list[str]], str]) -> Any:
    """A document that fits `schema`: `text` where a string is free, `pick` among the strings of an enum, the least
    that is allowed for the rest. `pattern` and `uniqueItems` are not looked at. Raises UnfillableError."""
    try:
        return _Filling(schema, text, pick).document(schema, 0)
    except (TypeError, AttributeError, ArithmeticError, RecursionError):
        raise UnfillableError("a keyword of the schema has a value that it cannot have") from None


_TOO_LARGE = UnfillableError("the schema has no document of a sensible size")


class _Filling:
    def __init__(self, root: dict[str, Any], text: str, pick: Callable[[list[str]], str]) -> None:
        self._root = root
        self._text = text
        self._pick = pick
        self._looked = 0

    def document(self, schema: Any, depth: int) -> Any:
        if depth > 10 * _DEEP:
            raise _TOO_LARGE
        if schema is True:
            return self._text
        schema = self._resolved(schema)
        if "const" in schema:
            return schema["const"]
        if isinstance(schema.get("enum"), list) and schema["enum"]:
            return self._among(schema["enum"])
        for several in ("anyOf", "oneOf"):
            if isinstance(schema.get(several), list) and schema[several]:
                return self.document(_chosen(schema[several], deep=depth > _DEEP), depth + 1)
        return self._of_type(_type(schema), schema, depth)

    def _resolved(self, schema: Any) -> dict[str, Any]:
        """`schema` without references, its `allOf` taken together."""
        while isinstance(schema, dict):
            self._looked += 1
            if self._looked > _LARGEST:
                raise _TOO_LARGE
            if "$ref" in schema:
                schema = {**self._referred(schema["$ref"]), **{k: v for k, v in schema.items() if k != "$ref"}}
            elif isinstance(schema.get("allOf"), list):
                whole = {key: value for key, value in schema.items() if key != "allOf"}
                for part in map(self._resolved, schema["allOf"]):
                    whole = _together(whole, part)
                schema = whole
            else:
                return schema
        raise UnfillableError("a part of the schema is not an object")

    def _referred(self, reference: Any) -> dict[str, Any]:
        found: Any = self._root
        for part in str(reference).removeprefix("#").strip("/").split("/"):
            if part:
                found = found.get(part.replace("~1", "/").replace("~0", "~")) if isinstance(found, dict) else None
        if not str(reference).startswith("#") or not isinstance(found, dict):
            raise UnfillableError(f"$ref {reference}: there is no such part of the schema")
        return found

    def _among(self, values: list[Any]) -> Any:
        strings = [value for value in values if isinstance(value, str)]
        return self._pick(strings) if strings else values[0]

    def _of_type(self, kind: Any, schema: dict[str, Any], depth: int) -> Any:
        match kind:
            case "object":
                properties = _dictionary(schema.get("properties"))
                names = dict.fromkeys([*properties, *schema.get("required", ())])
                if depth > _DEEP:
                    names = dict.fromkeys(schema.get("required", ()))
                return {name: self.document(properties.get(name, True), depth + 1) for name in names}
            case "array":
                least = schema.get("minItems", 0)
                wanted = min(max(least, 0 if depth > _DEEP else 1), schema.get("maxItems", _LARGEST))
                if wanted > _LARGEST:
                    raise _TOO_LARGE
                prefix = schema.get("prefixItems", [])
                items = [*prefix, *[schema.get("items", True)] * wanted][: max(wanted, len(prefix))]
                return [self.document(item, depth + 1) for item in items]
            case "string":
                text = str(_FORMATS.get(schema.get("format", ""), self._text))
                least = schema.get("minLength", 0)
                if least > _LARGEST:
                    raise _TOO_LARGE
                return text[: schema.get("maxLength", len(text))].ljust(least, ".")
            case "integer" | "number":
                return _number(schema, whole=kind == "integer")
            case "boolean":
                return True
            case "null":
                return None
        raise UnfillableError(f"type {kind}: unknown")


def _type(schema: dict[str, Any]) -> Any:
    kind = schema.get("type", "object" if "properties" in schema else "array" if "items" in schema else "string")
    return next((one for one in kind if one != "null"), "null") if isinstance(kind, list) else kind


def _chosen(schemas: list[Any], *, deep: bool) -> Any:
    """The first that is not null; the null, where it must come to an end."""
    nulls = [one for one in schemas if isinstance(one, dict) and one.get("type") == "null"]
    others = [one for one in schemas if one not in nulls]
    return (nulls + others if deep else others + nulls)[0]


def _together(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    return {
        **one,
        **other,
        "properties": {**_dictionary(one.get("properties")), **_dictionary(other.get("properties"))},
        "required": [*one.get("required", ()), *other.get("required", ())],
    }


def _dictionary(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _number(schema: dict[str, Any], *, whole: bool) -> float:
    step = schema.get("multipleOf", 1 if whole else 0.5)
    least = schema.get("minimum", schema.get("exclusiveMinimum"))
    most = schema.get("maximum", schema.get("exclusiveMaximum"))
    value = math.ceil(least / step) * step if least is not None else 0
    if least is not None and value <= schema.get("exclusiveMinimum", -math.inf):
        value += step
    if least is None and most is not None and value >= most:
        value = math.floor(most / step) * step
        if value >= schema.get("exclusiveMaximum", math.inf):
            value -= step
    return int(value) if whole else value
