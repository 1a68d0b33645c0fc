"""The shape of a workflow, as data. A template is checked when it is made: a wrong one never starts a service."""

from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import BaseModel


@dataclass(frozen=True, kw_only=True)
class Step:
    """One step. `backoff_seconds` is the pause after the first failure; it doubles with each further one.

    `compensation` names the handler that undoes the step. It must do nothing where there is nothing to undo, because it
    runs for every step that was started, finished or not.
    """

    name: str
    handler: str
    depends_on: tuple[str, ...] = ()
    max_attempts: int = 3
    backoff_seconds: float = 0.2
    max_lost_leases: int = 5
    compensation: str | None = None


@dataclass(frozen=True, kw_only=True)
class Template:
    """A workflow of a namespace: its steps, each after its parents, and the model that its context must satisfy."""

    namespace: str
    name: str
    description: str
    context: type[BaseModel]
    steps: tuple[Step, ...]

    def __post_init__(self) -> None:
        seen: set[str] = set()
        for step in self.steps:
            if step.name in seen:
                raise ValueError(f"{self.namespace}/{self.name}: two steps are named {step.name!r}")
            if unknown := set(step.depends_on) - seen:
                raise ValueError(
                    f"{self.namespace}/{self.name}: {step.name!r} comes before its parents {sorted(unknown)}"
                )
            seen.add(step.name)
        if not self.steps:
            raise ValueError(f"{self.namespace}/{self.name}: a template has at least one step")


class UnknownNamespaceError(LookupError):
    """`known`: the namespaces that exist."""

    def __init__(self, namespace: str, known: list[str]) -> None:
        super().__init__(f"unknown namespace {namespace!r}; there are: {', '.join(known)}")
        self.known = known


class UnknownTemplateError(LookupError):
    """`known`: the templates that the namespace has."""

    def __init__(self, namespace: str, name: str, known: list[str]) -> None:
        super().__init__(f"namespace {namespace!r} has no template {name!r}; there are: {', '.join(known)}")
        self.known = known


class Catalog:
    """Templates by namespace and name, in the order they were given."""

    def __init__(self, templates: tuple[Template, ...]) -> None:
        self.namespaces: Mapping[str, Mapping[str, Template]]
        namespaces: dict[str, dict[str, Template]] = {}
        for template in templates:
            namespaces.setdefault(template.namespace, {})[template.name] = template
        self.namespaces = namespaces

    def namespace(self, namespace: str) -> Mapping[str, Template]:
        if namespace not in self.namespaces:
            raise UnknownNamespaceError(namespace, list(self.namespaces))
        return self.namespaces[namespace]

    def template(self, namespace: str, name: str) -> Template:
        templates = self.namespace(namespace)
        if name not in templates:
            raise UnknownTemplateError(namespace, name, list(templates))
        return templates[name]
