from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import fields
from typing import Any

import pulumi
import pytest

from ephemera import Environment, images, run
from ephemera.home import identity
from ephemera.images import ImageMissingError
from ephemera.model import progress
from ephemera.model.errors import InputError, ServiceFailedError
from ephemera.model.images import AnyImage
from ephemera.model.outputs import EnvironmentOutputs
from ephemera.model.progress import Event
from ephemera.model.system import System
from ephemera.resources import manifests
from ephemera.resources.gates import GateError
from ephemera.resources.program import ProgramError
from tests.unit import programs
from tests.unit.doubles import SHOP, shop
from tests.unit.programs import OpenGates, Registered

_made: list[Environment] = []


def _declares(program: Callable[[Environment], None]) -> System:
    system = System(**{each.name: getattr(shop, each.name) for each in fields(System)})
    system.program(program)
    return system


def _program(environment: Environment) -> None:
    """The shop's program."""
    _made.append(environment)
    environment.offer("db", {"container": f"{environment.stack}-db", "image": "sha256:1"})


_SYSTEM = _declares(_program)


@pytest.fixture(autouse=True)
def ensured(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Images are there; what was built, and what was only looked up."""
    seen: list[str] = []

    def ensure(wanted: Iterable[AnyImage], mode: str, report: Callable[[str], None]) -> dict[AnyImage, str]:
        seen.append(f"ensure {mode}")
        report("step 1")
        return dict.fromkeys(wanted, "ephemera/x:1")

    def resolve(image: AnyImage, mode: str) -> str:
        seen.append(f"resolve {mode}")
        return "ephemera/x:1"

    monkeypatch.setattr(images, "mode", lambda: "local")
    monkeypatch.setattr(images, "ensure", ensure)
    monkeypatch.setattr(images, "resolve", resolve)
    monkeypatch.setattr(progress, "_subscribers", [])
    _made.clear()
    known = manifests.KNOWN.set({"shop": SHOP})
    yield seen
    manifests.KNOWN.reset(known)


def _run(
    stack: str = "shop-fix-1",
    *,
    preview: bool = False,
    registered: Registered | None = None,
    secret: tuple[str, ...] = (),
    **config: Any,
) -> Any:
    return programs.run(
        lambda: run(_SYSTEM), stack=stack, preview=preview, registered=registered, config=config, secret=secret
    )


def test_outputs_document_is_exported(gates: OpenGates) -> None:
    exported = _run(branch="fix/1", owner="me@here").exports
    document = EnvironmentOutputs.parse(exported["environment"])
    assert (document.stack, document.system, document.branch) == ("shop-fix-1", "shop", "fix/1")
    assert document.service("db").container == "shop-fix-1-db"


def test_everything_is_labelled_with_who_runs_it(gates: OpenGates) -> None:
    _run()
    made = _made[0].identity
    assert made.project == "ephemera"
    assert made.owner == identity.owner()
    assert made.backend == identity.backend_id()
    _run(owner="ci@runner")
    assert _made[1].identity.owner == "ci@runner"


def test_settings_reach_the_program(gates: OpenGates) -> None:
    _run(only='["api"]', seconds="9", expose="none")
    assert [each for each in SHOP.services if _made[0].has(each)] == ["db", "api"]
    assert _made[0].option("seconds") == 9
    assert _made[0].expose == "none"


def test_images_are_made_before_and_only_looked_up_in_a_preview(gates: OpenGates, ensured: list[str]) -> None:
    _run(preview=True)
    assert "ensure local" not in ensured
    ensured.clear()
    _run(images="registry")
    assert ensured == ["ensure registry"]


@pytest.mark.parametrize(
    ("stack", "config", "message"),
    [
        ("other-main", {}, "unknown system in stack name 'other-main'"),
        ("shop-main", {"system": "shopp"}, "unknown system 'shopp': did you mean 'shop'"),
        ("shop-main", {"exposee": "none"}, "did you mean 'ephemera:expose'"),
        ("shop-main", {"expose": "public"}, "ephemera:expose is 'public'"),
        ("shop-main", {"seconds": "soon"}, "ephemera:seconds is 'soon'"),
        ("shop-main", {"only": "nope"}, "unknown service 'nope'"),
        ("shop-main", {"expose": "fixed"}, "unknown port table"),
    ],
)
def test_bad_input_registers_nothing(
    gates: OpenGates, ensured: list[str], events: list[Event], stack: str, config: dict[str, Any], message: str
) -> None:
    registered = Registered()
    with pytest.raises(ProgramError, match=message):
        _run(stack, registered=registered, **config)
    assert registered.resources == []
    assert ensured == []
    failed = [event["error"]["kind"] for event in events if event["type"] == "failed"]
    assert failed in (["bad_input"], ["unknown_name"])


def test_missing_image_registers_nothing(
    gates: OpenGates, monkeypatch: pytest.MonkeyPatch, events: list[Event]
) -> None:
    def ensure(*_: Any) -> dict[AnyImage, str]:
        raise ImageMissingError("postgres:16", "no such image", "look again")

    monkeypatch.setattr(images, "ensure", ensure)
    registered = Registered()
    with pytest.raises(ProgramError, match="look again"):
        _run(registered=registered)
    assert registered.resources == []
    assert events[-1]["error"]["kind"] == "image_missing"


def test_foreign_settings_are_not_ours_to_check(gates: OpenGates) -> None:
    registered = Registered()

    def ran() -> None:
        pulumi.runtime.set_all_config({"docker:host": "unix:///x", "ephemera:expose": "none"})
        run(_SYSTEM)

    programs.run(ran, stack="shop-main", registered=registered)
    assert registered.names("network:Network") == ["network"]


def test_program_that_requires_config_of_its_own_comes_up(gates: OpenGates) -> None:
    bank = System("bank")
    bank.program(lambda _: pulumi.Config("mine").require("name"))

    def ran() -> None:
        pulumi.runtime.set_all_config({"mine:name": "x"})
        run(bank)

    assert programs.run(ran, stack="bank-main").exports["environment"]["system"] == "bank"


def test_plain_pulumi_is_told_what_happens(gates: OpenGates, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")

    def ran() -> None:
        run(_SYSTEM)
        progress.emit({"type": "gate", "service": "db", "state": "waiting", "seconds": 0.0, "detail": ""})
        progress.emit({"type": "gate", "service": "db", "state": "ready", "seconds": 1.25, "detail": ""})
        error = ServiceFailedError("api", "exited", log_tail=["no database"])
        progress.emit({"type": "failed", "error": error.document()["error"]})

    programs.run(ran, stack="shop-main")
    assert caplog.messages == ["step 1", "db is ready after 1.2 s", "api | no database"]


def test_failed_gate_is_printed_without_a_traceback() -> None:
    assert issubclass(GateError, pulumi.RunError)
    assert issubclass(ProgramError, pulumi.RunError)


def test_secret_options_reach_the_program_as_they_are(gates: OpenGates) -> None:
    _run(level="hush-hush", seconds="4711", secret=("level", "seconds"))
    assert (_made[0].option("level"), _made[0].option("seconds")) == ("hush-hush", 4711)


def test_secret_of_the_wrong_type_is_not_shown(gates: OpenGates, events: list[Event]) -> None:
    with pytest.raises(ProgramError, match="ephemera:seconds is a secret of another type: it must be of type integer"):
        _run(seconds="hush-hush", secret=("seconds",))
    assert "hush-hush" not in str(events)


def test_secret_that_is_no_option_is_refused(gates: OpenGates) -> None:
    with pytest.raises(ProgramError, match="ephemera:branch is a secret, and only a system's options can be"):
        _run(branch="hush-hush", secret=("branch",))


def test_secret_in_an_error_of_the_program_is_not_shown(gates: OpenGates, events: list[Event]) -> None:
    def refuse(environment: Environment) -> None:
        raise InputError(f"level is {environment.option('level')!r}", remedy="choose another")

    with pytest.raises(ProgramError, match=r"level is '\*\*\*'") as caught:
        programs.run(
            lambda: run(_declares(refuse)), stack="shop-main", config={"level": "hush-hush"}, secret=("level",)
        )
    assert "hush-hush" not in f"{caught.value} {events}"
