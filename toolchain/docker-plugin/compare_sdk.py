"""Compare schema.json with the installed `pulumi_docker` SDK: tokens, inputs, required inputs, outputs, nested types.

Run it after an upgrade of either: `python toolchain/docker-plugin/compare_sdk.py`. It exits with 1 and a line for each
difference. `docker:index/image:Image` is native to the vendor's plugin, and known not to be in ours.
"""

import inspect
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pulumi
import pulumi_docker

SCHEMA = Path(__file__).with_name("schema.json")
NATIVE = {"Image", "Provider"}


def main() -> int:
    schema = json.loads(SCHEMA.read_text())
    differences = list(compare(schema))
    for difference in differences:
        print(difference)
    print(f"{len(schema['resources'])} resources compared, {len(differences)} differences")
    return 1 if differences else 0


def compare(schema: dict[str, Any]) -> Iterator[str]:
    """Yield one line for each difference between the schema and the SDK."""
    published = {name for name, member in inspect.getmembers(pulumi_docker, inspect.isclass) if is_resource(member)}
    ours = {last(token): resource for token, resource in schema["resources"].items()}
    yield from differ("resources", published - NATIVE, set(ours))
    for name, resource in ours.items():
        arguments, cls = getattr(pulumi_docker, name + "Args"), getattr(pulumi_docker, name)
        yield from differ(f"{name}: inputs", inputs(arguments), set(resource.get("inputProperties", {})))
        required = set(resource.get("requiredInputs", []))
        yield from differ(f"{name}: required", inputs(arguments, required=True), required)
        yield from differ(f"{name}: outputs", outputs(cls), set(resource.get("properties", {})))
    for token, nested in schema["types"].items():
        arguments = getattr(pulumi_docker, last(token)[0].upper() + last(token)[1:] + "Args", None)
        if arguments is not None:
            yield from differ(f"{last(token)}: fields", inputs(arguments), set(nested["properties"]))
    functions = {last(token) for token in schema["functions"] if not token.startswith("pulumi:providers:")}
    missing = {name for name in functions if not hasattr(pulumi_docker, snake(name))}
    yield from differ("functions", set(), missing)


def differ(what: str, sdk: set[str], schema: set[str]) -> Iterator[str]:
    if sdk != schema:
        yield f"{what}: only in the SDK {sorted(sdk - schema)}, only in the schema {sorted(schema - sdk)}"


def is_resource(member: type) -> bool:
    return issubclass(member, pulumi.CustomResource)


def inputs(arguments: type, *, required: bool = False) -> set[str]:
    """Return the inputs of an Args class by their names in the schema."""
    names = {name: field.fget._pulumi_name for name, field in properties(arguments)}
    parameters = inspect.signature(arguments).parameters
    return {names[n] for n, p in parameters.items() if not required or p.default is inspect.Parameter.empty}


def outputs(resource: type) -> set[str]:
    """Return the outputs of a resource class by their names in the schema, without those that every resource has."""
    common = {name for name, _ in properties(pulumi.CustomResource)}
    return {getattr(field.fget, "_pulumi_name", name) for name, field in properties(resource) if name not in common}


def properties(cls: type) -> list[tuple[str, Any]]:
    return inspect.getmembers(cls, lambda member: isinstance(member, property))


def last(token: str) -> str:
    return token.rsplit(":", 1)[1]


def snake(name: str) -> str:
    return "".join("_" + c.lower() if c.isupper() else c for c in name)


if __name__ == "__main__":
    sys.exit(main())
