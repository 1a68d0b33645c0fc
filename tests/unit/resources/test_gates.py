from __future__ import annotations

import asyncio
import base64
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

import pytest
from docker.errors import NotFound
from requests.exceptions import ConnectionError as RequestsConnectionError

from ephemera.host.probes import Exec, ExitZero, Probe, Target
from ephemera.model import labels
from ephemera.model.progress import Event
from ephemera.pulumi.failures import error_from_document
from ephemera.resources import gates
from ephemera.resources.gates import GateError, Gatekeeper
from tests.unit.doubles import FakeClient, refusal

_SECRET = "s3cret-value"  # noqa: S105


@dataclass(kw_only=True)
class Asked(Probe):
    """A probe that answers what the test says, and tells that it was asked."""

    answer: bool = False
    interval_seconds: float = 0.01
    finishes: bool = False
    from_outside: bool = False
    times: int = 0
    asked: threading.Event = field(default_factory=threading.Event)
    target: Target | None = None
    answer_after: int = 0

    def ready(self, target: Target) -> bool:
        self.target = target
        self.times += 1
        self.asked.set()
        return self.answer or (0 < self.answer_after <= self.times)


@pytest.fixture
def keeper(client: FakeClient) -> Gatekeeper:
    for container in ("api-id", "db-id", "job-id"):
        client.api.run(container)
    return Gatekeeper(client, "shop-main", lambda: (_SECRET,))


def _wait(*waits: Coroutine[Any, Any, None]) -> list[BaseException | None]:
    async def together() -> list[BaseException | None]:
        return await asyncio.gather(*waits, return_exceptions=True)

    return asyncio.run(together())


def _passed(keeper: Gatekeeper, probe: Any, service: str = "api", timeout: float = 10) -> Coroutine[Any, Any, None]:
    asked = ("127.83.1.1", 8080)
    return keeper.passed(service, f"{service}-id", probe, timeout_seconds=timeout, asked=asked)


def _fails(*waits: Coroutine[Any, Any, None]) -> GateError:
    error = _wait(*waits)[0]
    assert isinstance(error, GateError)
    return error


def _once_asked(probe: Asked, act: Callable[[], None]) -> threading.Thread:
    """Do ``act`` as soon as the probe has been asked."""

    def run() -> None:
        assert probe.asked.wait(10)
        act()

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def test_gate_passes_when_the_probe_answers(keeper: Gatekeeper, events: list[Event]) -> None:
    probe = Asked(answer_after=3)
    assert _wait(_passed(keeper, probe)) == [None]
    assert probe.times == 3
    assert probe.target is not None
    assert (probe.target.host, probe.target.port, probe.target.exit_code) == ("127.83.1.1", 8080, None)
    states = [(event["service"], event["state"]) for event in events if event["type"] == "gate"]
    assert states[0] == ("api", "waiting")
    assert states[-1] == ("api", "ready")


def test_exit_fails_the_gate_at_once_with_code_and_last_lines(
    keeper: Gatekeeper, client: FakeClient, events: list[Event]
) -> None:
    client.api.log_texts["api-id"] = "".join(f"line {number}\n" for number in range(40)) + f"password={_SECRET} wrong\n"
    probe = Asked()
    thread = _once_asked(probe, lambda: client.api.end("api-id", 3))
    started = time.monotonic()
    error = _fails(_passed(keeper, probe, timeout=60))
    thread.join()
    assert time.monotonic() - started < 5
    assert str(error).startswith("service 'api' exited before it was ready (exit code 3)")
    assert error.container_exit_code == 3
    assert len(error.log_tail) == 20
    assert error.log_tail[-1] == "password=*** wrong"
    assert _SECRET not in json.dumps(events)
    (failed,) = [event["error"] for event in events if event["type"] == "failed"]
    assert error_from_document(failed).details() == error.details()


def test_last_lines_hold_no_secret_of_the_container_and_end_at_line_feeds_only(
    keeper: Gatekeeper, client: FakeClient
) -> None:
    config = {"Env": ["DSN=own secret"], "Labels": {labels.SECRETS: '["DSN"]'}}
    state = {"Running": False, "Status": "exited", "ExitCode": 1, "OOMKilled": False}
    client.api.documents["api-id"] = {"Name": "/x", "Config": config, "State": state}
    client.api.log_texts["api-id"] = "10%\r100%\x0c\u2028 with own secret\n"
    assert _fails(_passed(keeper, Asked())).log_tail == ("10%\r100%\x0c\u2028 with ***",)


def test_exit_that_nobody_heard_of_is_noticed_too(
    keeper: Gatekeeper, client: FakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gates, "_NEWS_INTERVAL_SECONDS", 0.02)
    probe = Asked()
    thread = _once_asked(probe, lambda: client.api.end("api-id", 4, event=False))
    error = _fails(_passed(keeper, probe))
    thread.join()
    assert error.container_exit_code == 4


def test_container_that_ended_before_anybody_looked_fails_without_being_probed(
    keeper: Gatekeeper, client: FakeClient
) -> None:
    client.api.end("api-id", 1, event=False)
    probe = Asked(answer=True)
    assert _fails(_passed(keeper, probe)).container_exit_code == 1
    assert probe.times == 0, "somebody else may be listening there"


def test_lack_of_memory_is_the_cause_that_is_told(keeper: Gatekeeper, client: FakeClient) -> None:
    probe = Asked()
    thread = _once_asked(probe, lambda: client.api.end("api-id", 137, out_of_memory=True))
    error = _fails(_passed(keeper, probe))
    thread.join()
    assert error.cause == "was killed for lack of memory (exit code 137)"


def test_lack_of_memory_is_told_by_inspect_as_well(keeper: Gatekeeper, client: FakeClient) -> None:
    client.api.end("api-id", 137, out_of_memory=True, event=False)
    assert "lack of memory" in _fails(_passed(keeper, Asked())).cause


def test_deadline_tells_what_was_waited_for(keeper: Gatekeeper, client: FakeClient) -> None:
    client.api.log_texts["api-id"] = "still migrating\n"
    started = time.monotonic()
    error = _fails(_passed(keeper, Asked(), timeout=0.1))
    assert 0.1 <= time.monotonic() - started < 5
    assert error.cause == "was not ready within 0.1 s (Asked)"
    assert error.container_exit_code is None
    assert error.log_tail == ("still migrating",)


def test_failure_of_one_gate_ends_all_others_at_once(
    keeper: Gatekeeper, client: FakeClient, events: list[Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gates, "_NEWS_INTERVAL_SECONDS", 30)
    slow, failing = Asked(interval_seconds=30), Asked()
    fast = Asked()

    def fail() -> None:
        assert slow.asked.wait(10)
        assert fast.asked.wait(10)
        client.api.end("db-id", 1)

    thread = _once_asked(failing, fail)
    started = time.monotonic()
    errors = _wait(_passed(keeper, failing, "db"), _passed(keeper, slow, "api"), _passed(keeper, fast, "job"))
    thread.join()
    assert time.monotonic() - started < 5
    assert [str(error).split(" (")[0].split(" after")[0] for error in errors] == [
        "service 'db' exited before it was ready",
        "service 'api' was given up",
        "service 'job' was given up",
    ]
    assert all("because service 'db' failed" in str(error) for error in errors[1:])
    assert len([event for event in events if event["type"] == "failed"]) == 1, "only the guilty one is told of"


def test_others_are_given_up_once_it_is_told_who_failed(
    keeper: Gatekeeper, client: FakeClient, events: list[Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    given_up = threading.Event()
    while_it_looks: list[bool] = []

    def tail(*_: Any) -> list[str]:
        while_it_looks.append(given_up.wait(0.5))
        return ["the reason"]

    async def other() -> None:
        try:
            await _passed(keeper, Asked(), "job")
        finally:
            given_up.set()

    monkeypatch.setattr(keeper, "_tail", tail)
    failing = Asked()
    thread = _once_asked(failing, lambda: client.api.end("db-id", 1))
    errors = _wait(_passed(keeper, failing, "db"), other())
    thread.join()
    assert "was given up" in str(errors[1])
    assert while_it_looks
    assert not any(while_it_looks), "the program would have ended with the other one, and its process before this"
    assert [event["error"]["log_tail"] for event in events if event["type"] == "failed"] == [["the reason"]]


@pytest.mark.parametrize("change", ["lost", "exit"])
def test_change_between_the_look_and_the_pause_costs_no_whole_interval(
    keeper: Gatekeeper, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Deaf(threading.Condition):
        def wait(self, timeout: float | None = None) -> bool:
            # It happens just before the pause: whoever pauses now is not woken.
            if change == "lost":
                keeper._lost = "db"
            else:
                keeper._lives["api-id"].exit_code = 9
            return super().wait(timeout)

    monkeypatch.setattr(keeper, "_changed", Deaf())
    started = time.monotonic()
    _fails(_passed(keeper, Asked(interval_seconds=30)))
    assert time.monotonic() - started < 5


def test_one_shot_passes_when_it_ends_with_0(
    keeper: Gatekeeper, client: FakeClient, events: list[Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gates, "_NEWS_INTERVAL_SECONDS", 30)
    waiting = threading.Event()

    def end() -> None:
        assert waiting.wait(10)
        client.api.end("job-id", 0)

    thread = threading.Thread(target=end)
    thread.start()
    original = client.api.inspect_container

    def inspect(container: str) -> dict[str, Any]:
        waiting.set()
        return original(container)

    client.api.inspect_container = inspect  # type: ignore[method-assign]
    started = time.monotonic()
    assert _wait(_passed(keeper, ExitZero(), "job")) == [None]
    thread.join()
    assert time.monotonic() - started < 4, "it is told, not polled"
    assert events[-1]["state"] == "ready"


def test_one_shot_that_was_done_before_anybody_looked_passes(keeper: Gatekeeper, client: FakeClient) -> None:
    client.api.end("job-id", 0, event=False)
    assert _wait(_passed(keeper, ExitZero(), "job")) == [None]


def test_one_shot_that_ends_badly_fails(keeper: Gatekeeper, client: FakeClient) -> None:
    client.api.end("job-id", 2, event=False)
    error = _fails(_passed(keeper, ExitZero(), "job"))
    assert error.container_exit_code == 2
    assert error.cause == "did not end well (exit code 2)"


def test_exit_0_of_a_service_that_should_run_is_a_failure(keeper: Gatekeeper, client: FakeClient) -> None:
    client.api.end("api-id", 0, event=False)
    assert "exited before it was ready (exit code 0)" in _fails(_passed(keeper, Asked())).cause


def _engine_says(client: FakeClient, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def answer(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(client.api, "inspect_container", answer)
    monkeypatch.setattr(client.api, "logs", answer)


def test_engine_that_goes_away_fails_the_gate_in_one_line(
    keeper: Gatekeeper, client: FakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    _engine_says(client, monkeypatch, RequestsConnectionError("refused"))
    failure = _fails(_passed(keeper, Asked()))
    assert failure.cause.startswith("cannot be watched: the Docker engine has stopped answering")
    assert failure.__suppress_context__


@pytest.mark.parametrize("status", [403, 409, 500])
def test_refusal_of_an_engine_that_lives_is_told_in_its_words(
    keeper: Gatekeeper, client: FakeClient, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    _engine_says(client, monkeypatch, refusal(status))
    failure = _fails(_passed(keeper, Asked()))
    assert failure.cause == "failed: the Docker engine says 'no space left on device'"
    assert failure.__suppress_context__


def test_secret_that_is_logged_in_another_form_is_hidden_too(keeper: Gatekeeper, client: FakeClient) -> None:
    encoded = base64.b64encode(f"user:{_SECRET}".encode()).decode()
    client.api.log_texts["api-id"] = f"Authorization: Basic {encoded}\n"
    client.api.end("api-id", 1, event=False)
    (line,) = _fails(_passed(keeper, Asked())).log_tail
    assert "***" in line
    assert encoded not in line


def test_container_that_was_restarted_gets_its_chance(client: FakeClient) -> None:
    keeper = Gatekeeper(client, "shop-main", tuple)
    client.api.run("api-id")
    client.api.happen("die", "api-id", exitCode="1")
    client.api.happen("start", "api-id")
    client.api.happen("die", "other-id", exitCode="7")
    deadline = time.monotonic() + 10
    while "other-id" not in keeper._lives:
        assert time.monotonic() < deadline
        with keeper._changed:
            keeper._changed.wait(0.1)
    assert _wait(_passed(keeper, Asked(answer_after=2))) == [None]


def test_death_of_another_container_is_nobodys_business(keeper: Gatekeeper, client: FakeClient) -> None:
    probe = Asked()

    def act() -> None:
        client.api.end("db-id", 1)
        probe.answer = True

    thread = _once_asked(probe, act)
    assert _wait(_passed(keeper, probe)) == [None]
    thread.join()


def test_container_that_was_removed_fails_the_gate(keeper: Gatekeeper, client: FakeClient) -> None:
    client.api.states.clear()
    failure = _fails(_passed(keeper, Asked()))
    assert failure.cause == "is gone: its container was removed"
    assert "`ephemera up`" in failure.remedy
    told = error_from_document(failure.document()["error"])
    assert told.remedy == failure.remedy, "it survives the way to the driver"


def test_container_that_is_removed_while_something_else_is_asked_of_it_is_gone_too(keeper: Gatekeeper) -> None:
    with pytest.raises(GateError, match="is gone"), keeper.in_sight("api", "api-id"):
        raise NotFound("no such container")


def test_probe_may_run_commands_in_the_container(keeper: Gatekeeper, client: FakeClient) -> None:
    client.api.exit_codes["api-id: check it"] = 1
    probe = Exec(["check", "it"], interval_seconds=0.01)
    assert "was not ready within 0.05 s (Exec)" in _fails(_passed(keeper, probe, timeout=0.05)).cause
    client.api.exit_codes["api-id: check it"] = 0
    keeper._lost = ""
    assert _wait(_passed(keeper, probe)) == [None]


def test_command_that_hangs_once_is_asked_again(keeper: Gatekeeper, client: FakeClient) -> None:
    client.api.hanging.add("api-id: check")
    created = client.api.exec_create

    def second_is_fine(container: str, command: list[str]) -> dict[str, str]:
        first = not client.api.executed
        return {"Id": "api-id: check" if first else "other"} if created(container, command) else {}

    client.api.exec_create = second_is_fine  # type: ignore[method-assign,assignment]
    probe = Exec(["check"], interval_seconds=0.01, timeout_seconds=0.05)
    assert _wait(_passed(keeper, probe)) == [None]
    assert client.api.executed == ["check", "check"]


def test_command_that_always_hangs_holds_no_gate_beyond_its_time(keeper: Gatekeeper, client: FakeClient) -> None:
    client.api.hanging.add("api-id: check")
    probe = Exec(["check"], interval_seconds=0.01, timeout_seconds=0.01)
    started = time.monotonic()
    failure = _fails(_passed(keeper, probe, timeout=0.5))
    assert failure.cause == "was not ready within 0.5 s (Exec, without an answer within 0.01 s)"
    assert time.monotonic() - started < 3
    assert len(client.api.executed) <= 16, "so many at once, and no more"


def test_command_that_takes_longer_than_its_limit_counts_when_it_has_ended(
    keeper: Gatekeeper, client: FakeClient
) -> None:
    client.api.hanging.add("api-id: check")
    done = threading.Timer(0.2, client.api.hanging.clear)
    done.start()
    probe = Exec(["check"], interval_seconds=0.01, timeout_seconds=0.05)
    assert _wait(_passed(keeper, probe)) == [None]
    done.join()


@dataclass(kw_only=True)
class Hanging(Asked):
    """A probe of one's own that hangs the first ``hangs`` times it is asked."""

    hangs: int = 1
    timeout_seconds: float = 0.05
    over: threading.Event = field(default_factory=threading.Event)

    def ready(self, target: Target) -> bool:
        answer = super().ready(target)
        if self.times <= self.hangs:
            self.over.wait(30)
        return answer


def test_probe_that_hangs_once_is_asked_again(keeper: Gatekeeper) -> None:
    probe = Hanging(answer=True)
    started = time.monotonic()
    assert _wait(_passed(keeper, probe)) == [None]
    assert time.monotonic() - started < 5
    assert probe.times == 2
    probe.over.set()


def test_gate_ends_when_its_time_is_over_whatever_the_probe_does(keeper: Gatekeeper) -> None:
    probe = Hanging(hangs=1_000)
    started = time.monotonic()
    assert "was not ready within 0.2 s (Hanging" in _fails(_passed(keeper, probe, timeout=0.2)).cause
    assert time.monotonic() - started < 5
    probe.over.set()


def test_exit_is_noticed_while_the_probe_hangs(keeper: Gatekeeper, client: FakeClient) -> None:
    probe = Hanging(hangs=1_000, timeout_seconds=30)
    thread = _once_asked(probe, lambda: client.api.end("api-id", 3))
    started = time.monotonic()
    assert _fails(_passed(keeper, probe, timeout=60)).container_exit_code == 3
    assert time.monotonic() - started < 5
    thread.join()
    probe.over.set()


@pytest.mark.parametrize("call", ["inspect_container", "logs"])
def test_gate_ends_when_its_time_is_over_though_the_engine_hangs(
    keeper: Gatekeeper, client: FakeClient, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    over = threading.Event()
    monkeypatch.setattr(gates, "_GRACE_SECONDS", 0.1)
    monkeypatch.setattr(gates, "_TAIL_SECONDS", 0.1)
    monkeypatch.setattr(client.api, call, lambda *_, **__: over.wait(30))
    started = time.monotonic()
    assert "was not ready within 0.2 s" in _fails(_passed(keeper, Asked(), timeout=0.2)).cause
    assert time.monotonic() - started < 5
    over.set()


_LEFT_BEHIND = """
import asyncio, threading
from ephemera.resources.gates import GateError, Gatekeeper
from ephemera.host.probes import Probe, Target
from tests.unit.doubles import FakeClient

class Hangs(Probe):
    interval_seconds, finishes, from_outside = 0.01, False, False
    def ready(self, target: Target) -> bool:
        threading.Event().wait()

client = FakeClient()
client.api.run("api-id")
keeper = Gatekeeper(client, "shop-main", tuple)
try:
    asyncio.run(keeper.passed("api", "api-id", Hangs(), timeout_seconds=0.1, asked=None))
except GateError as error:
    print(error.cause)
"""


def test_process_ends_although_a_probe_still_hangs() -> None:
    done = subprocess.run([sys.executable, "-c", _LEFT_BEHIND], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout.startswith("was not ready within 0.1 s")


def test_waiting_services_tell_their_last_line(
    keeper: Gatekeeper, client: FakeClient, events: list[Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gates, "_NEWS_INTERVAL_SECONDS", 0.02)
    client.api.log_texts["api-id"] = f"first\nusing {_SECRET}\n"

    class Told(Asked):
        def ready(self, target: Target) -> bool:
            return any(event.get("detail") for event in events)

    assert _wait(_passed(keeper, Told())) == [None]
    assert "using ***" in {event["detail"] for event in events}
