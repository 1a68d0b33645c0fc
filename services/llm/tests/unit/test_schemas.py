"""Documents for JSON schemas: they fit, and no schema hangs or breaks the double."""

from typing import Any

import jsonschema
import pytest
from llm.schemas import UnfillableError, fill

NODE = {"type": "object", "properties": {"next": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}}, "required": ["next"]}


def _fill(schema: dict[str, Any]) -> Any:
    return fill(schema, "the text", lambda names: names[-1])


@pytest.mark.parametrize(
    "schema",
    [
        {},
        {"type": "object"},
        {"properties": {"a": {"type": "string"}, "b": {"type": "integer", "minimum": 3}}, "required": ["b", "c"]},
        {"properties": {"a": {"const": 7}}, "required": ["a"], "additionalProperties": False},
        {"type": "array", "items": {"type": "boolean"}, "minItems": 2, "maxItems": 3},
        {"type": "array", "prefixItems": [{"type": "string"}], "items": {"type": "integer"}, "minItems": 3},
        {"type": "array", "maxItems": 0},
        {"type": ["null", "string"], "minLength": 12},
        {"type": "string", "maxLength": 3},
        {"type": "string", "format": "date-time"},
        {"type": "number", "exclusiveMinimum": 2, "multipleOf": 0.5},
        {"type": "integer", "maximum": -4},
        {"type": "integer", "minimum": 5, "multipleOf": 4},
        {"type": "number", "exclusiveMaximum": 0},
        {"enum": [1, None]},
        {"oneOf": [{"type": "null"}, {"type": "integer"}]},
        {"allOf": [{"required": ["a"]}, {"$ref": "#/$defs/b"}], "$defs": {"b": {"required": ["b"]}}, "type": "object"},
        {"$ref": "#/$defs/a~1b", "$defs": {"a/b": {"type": "boolean"}}},
        NODE,
        {"type": "array", "items": {"$ref": "#"}},
        {"type": "object", "properties": {"children": {"type": "array", "items": {"$ref": "#"}}}},
    ],
    ids=str,
)
def test_the_document_fits(schema: dict[str, Any]) -> None:
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(_fill(schema), schema, jsonschema.Draft202012Validator)


def test_free_strings_are_the_text_and_enums_are_picked() -> None:
    schema = {"properties": {"answer": {"type": "string"}, "kind": {"enum": ["a", "b"]}}}
    assert _fill(schema) == {"answer": "the text", "kind": "b"}


@pytest.mark.timeout(10)
@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#"},
        {"$ref": "#/nowhere"},
        {"$ref": "http://elsewhere/schema"},
        {"allOf": [{"$ref": "#"}, {"$ref": "#"}]},
        {"properties": {"a": {"$ref": "#"}, "b": {"$ref": "#"}}, "required": ["a", "b"]},
        {"type": "array", "minItems": 10**9, "maxItems": 10**9},
        {"type": "string", "minLength": 10**9},
        {"type": "array", "minItems": "many"},
        {"type": "integer", "minimum": "one"},
        {"type": "integer", "minimum": 1, "multipleOf": 0},
        {"type": "surprise"},
        {"properties": {"a": 5}},
        {"required": 5, "type": "object"},
        {"anyOf": [False]},
    ],
    ids=str,
)
def test_a_schema_without_a_sensible_document_is_refused(schema: dict[str, Any]) -> None:
    with pytest.raises(UnfillableError):
        _fill(schema)
