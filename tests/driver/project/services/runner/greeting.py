"""A package of the product's, for tests to import and coverage to measure."""


def greet(name: str) -> str:
    if not name:
        return "hello, whoever you are"
    return f"hello, {name}"
