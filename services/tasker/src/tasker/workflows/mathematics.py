"""The step of the four mathematical workflows. Python's integers are exact at any size, and so are those in jsonb."""

from math import prod

from tasker.workflows.handler import Call


async def square(call: Call) -> int:
    """The square of the product of what came in: of the even number itself in a first step."""
    return square_product(list(call.input.values()))


def square_product(numbers: list[int]) -> int:
    product = prod(numbers)
    return product * product
