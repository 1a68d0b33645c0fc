"""What a task's context must look like, per workflow. Unknown fields are refused: a typo is an error, not a default."""

from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from tasker.workflows.template import Template

LARGEST_NUMBER = 10**6
M = TypeVar("M", bound=BaseModel)


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


# PostgreSQL stores no NUL, and a control character in a name is a defect of the sender.
Line = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]


class EvenNumber(_Strict):
    even_number: Annotated[int, Field(strict=True, ge=-LARGEST_NUMBER, le=LARGEST_NUMBER, multiple_of=2)]


class Customer(_Strict):
    name: Line
    email: Annotated[str, Field(max_length=200, pattern=r"^[^@\s\x00]+@[^@\s\x00]+$")]


class Item(_Strict):
    sku: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
    quantity: Annotated[int, Field(strict=True, ge=1, le=1000)]


class Payment(_Strict):
    card_token: Annotated[str, Field(pattern=r"^tok_[A-Za-z0-9_]{4,64}$")]
    amount_cents: Annotated[int, Field(strict=True, ge=1, le=10**15)] | None = None


def _each_sku_once(items: list[Item]) -> list[Item]:
    skus = [item.sku for item in items]
    if repeated := {sku for sku in skus if skus.count(sku) > 1}:
        raise ValueError(f"each sku may be there once, repeated: {', '.join(sorted(repeated))}")
    return items


class Order(_Strict):
    order_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
    customer: Customer
    items: Annotated[list[Item], Field(min_length=1, max_length=50), AfterValidator(_each_sku_once)]
    payment: Payment


class Simulation(_Strict):
    """Test mode only: make one step slow or fail, to see what the services do about it."""

    step: str
    fail_times: Annotated[int, Field(strict=True, ge=0, le=100)] = 0
    # Not strict: 2 is as good as 2.0 here.
    sleep_seconds: Annotated[float, Field(strict=False, ge=0, le=30, allow_inf_nan=False)] = 0.0
    when: Literal["before", "after"] = "before"


class InvalidContextError(ValueError):
    """`field`: the dotted path of what is wrong, from `context` on."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field


def check(template: Template, context: dict[str, Any], *, test_mode: bool) -> None:
    """Refuse a context that `template` cannot work with. Raises InvalidContextError for the first wrong field."""
    simulated = test_mode and "simulate" in context
    own = {key: value for key, value in context.items() if not (simulated and key == "simulate")}
    _validate(template.context, own, "context")
    if simulated:
        step = _validate(Simulation, context["simulate"], "context.simulate").step
        names = [step.name for step in template.steps]
        if step not in names:
            raise InvalidContextError("context.simulate.step", f"no such step; there are: {', '.join(names)}")


def _validate(model: type[M], value: object, path: str) -> M:
    try:
        return model.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        message = str(first["ctx"]["error"]) if first["type"] == "value_error" else first["msg"]
        raise InvalidContextError(".".join([path, *map(str, first["loc"])]), message) from None
