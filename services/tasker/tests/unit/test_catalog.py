"""The templates: their shape, and that what they compute is what their description promises."""

import pytest
from tasker.workflows.catalog import CATALOG, NAMESPACES
from tasker.workflows.contexts import EvenNumber
from tasker.workflows.handlers import HANDLERS
from tasker.workflows.mathematics import square_product
from tasker.workflows.template import Step, Template, UnknownNamespaceError, UnknownTemplateError

TEMPLATES = [template for templates in CATALOG.namespaces.values() for template in templates.values()]
POWERS = {"linear_workflow": 16, "diamond_workflow": 16, "tree_workflow": 64, "mixed_dag_workflow": 64}


@pytest.mark.parametrize("namespace", POWERS)
@pytest.mark.parametrize("number", [6, -2, 0, 10**6])
def test_a_mathematical_workflow_raises_to_its_power_exactly(namespace: str, number: int) -> None:
    (template,) = CATALOG.namespace(namespace).values()
    results: dict[str, int] = {}
    for step in template.steps:
        results[step.name] = square_product([results[parent] for parent in step.depends_on] or [number])
    assert results[template.steps[-1].name] == number ** POWERS[namespace]


def test_the_linear_workflow_of_six() -> None:
    assert 6**16 == 2821109907456


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda template: template.namespace)
def test_every_handler_is_there_and_the_last_step_is_the_only_end(template: Template) -> None:
    needed = {name for step in template.steps for name in (step.handler, step.compensation) if name}
    assert needed <= set(HANDLERS)
    parents = {parent for step in template.steps for parent in step.depends_on}
    assert [step.name for step in template.steps if step.name not in parents] == [template.steps[-1].name]


def test_five_namespaces() -> None:
    assert len(NAMESPACES) == 5


def test_unknown_names_tell_those_that_exist() -> None:
    with pytest.raises(UnknownNamespaceError, match="linear_workflow, diamond_workflow") as namespace:
        CATALOG.template("nope", "nope")
    assert namespace.value.known == list(NAMESPACES)
    with pytest.raises(UnknownTemplateError, match="mathematical_sequence"):
        CATALOG.template("linear_workflow", "nope")


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ((), "at least one step"),
        ((Step(name="a", handler="square"), Step(name="a", handler="square")), "two steps are named 'a'"),
        ((Step(name="a", handler="square", depends_on=("b",)), Step(name="b", handler="square")), "before its parents"),
    ],
)
def test_a_wrong_template_is_refused(steps: tuple[Step, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Template(namespace="n", name="t", description="", context=EvenNumber, steps=steps)
