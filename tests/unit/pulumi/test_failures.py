from __future__ import annotations

import json

import pytest

from ephemera.images import ImageBuildError, ImageMissingError, ImageTakenError
from ephemera.model.errors import EngineError, EphemeraError
from ephemera.pulumi.failures import error_from_document
from ephemera.resources.gates import GateError
from tests.unit.model.test_errors import SAMPLES

_CROSSING: tuple[EphemeraError, ...] = (
    *SAMPLES,
    ImageBuildError("web", "RUN x", "no such file", output=["step 1", "step 2"]),
    ImageMissingError("postgres:16", "no such image", "look again"),
    ImageTakenError("ephemera/web:1", None),
    GateError("api", "exited", container_exit_code=1, log_tail=["one"]),
)


@pytest.mark.parametrize("error", _CROSSING, ids=lambda error: type(error).__name__)
def test_error_says_the_same_after_crossing_a_process_boundary(error: EphemeraError) -> None:
    document = json.loads(json.dumps(error.document()))
    crossed = error_from_document(document["error"])
    assert crossed.document() == document
    assert crossed.exit_code == error.exit_code
    assert str(crossed) == str(error)
    branch = ([kind for kind in type(error).__mro__ if issubclass(kind, EphemeraError)][:-1] or [EphemeraError])[-1]
    assert isinstance(crossed, branch), "who handles a branch of the tree handles it on both sides"


def test_document_of_an_unknown_kind_is_an_engine_error() -> None:
    error = error_from_document({"kind": "novel", "message": "m", "log_tail": ["x"]})
    assert type(error) is EngineError
    assert error.output == ("x",)
