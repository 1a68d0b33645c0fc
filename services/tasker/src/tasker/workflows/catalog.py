"""The five workflows."""

from tasker.workflows.contexts import EvenNumber, Order
from tasker.workflows.template import Catalog, Step, Template


def _square(name: str, *parents: str) -> Step:
    return Step(name=name, handler="square", depends_on=parents)


CATALOG = Catalog(
    (
        Template(
            namespace="linear_workflow",
            name="mathematical_sequence",
            description="Four steps, each squares its input: n^16.",
            context=EvenNumber,
            steps=(
                _square("square_1"),
                _square("square_2", "square_1"),
                _square("square_3", "square_2"),
                _square("square_4", "square_3"),
            ),
        ),
        Template(
            namespace="diamond_workflow",
            name="diamond_pattern",
            description="Two branches square the start's square; the merge squares their product: n^16.",
            context=EvenNumber,
            steps=(
                _square("start"),
                _square("left", "start"),
                _square("right", "start"),
                _square("merge", "left", "right"),
            ),
        ),
        Template(
            namespace="tree_workflow",
            name="hierarchical_tree",
            description="A root, two inner steps, four leaves, each squares its parent; the gathering step squares "
            "the product of the leaves: n^64.",
            context=EvenNumber,
            steps=(
                _square("root"),
                _square("inner_left", "root"),
                _square("inner_right", "root"),
                _square("leaf_1", "inner_left"),
                _square("leaf_2", "inner_left"),
                _square("leaf_3", "inner_right"),
                _square("leaf_4", "inner_right"),
                _square("gather", "leaf_1", "leaf_2", "leaf_3", "leaf_4"),
            ),
        ),
        Template(
            namespace="mixed_dag_workflow",
            name="complex_dag",
            description="Joins and branches of different widths; the finish squares the product of three: n^64.",
            context=EvenNumber,
            steps=(
                _square("start"),
                _square("left", "start"),
                _square("right", "start"),
                _square("validate", "left", "right"),
                _square("transform", "left"),
                _square("analyze", "right"),
                _square("finish", "validate", "transform", "analyze"),
            ),
        ),
        Template(
            namespace="order_fulfillment",
            name="business_workflow",
            description="Validate an order, reserve its goods, charge the card, ship; undone when a later step fails.",
            context=Order,
            steps=(
                Step(name="validate_order", handler="validate_order"),
                Step(
                    name="reserve_inventory",
                    handler="reserve_inventory",
                    depends_on=("validate_order",),
                    compensation="release_inventory",
                ),
                Step(
                    name="process_payment",
                    handler="process_payment",
                    depends_on=("reserve_inventory",),
                    compensation="refund_payment",
                ),
                Step(name="ship_order", handler="ship_order", depends_on=("process_payment",)),
            ),
        ),
    )
)

NAMESPACES = tuple(CATALOG.namespaces)
