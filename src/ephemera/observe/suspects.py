"""Suspects: which services may be why a test failed, by what happened to them while it ran."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ephemera.observe.findings import Line, Service
from ephemera.observe.recording import Record

_LINES_OF_THE_DEAD = 20
_LINES_OF_OTHERS = 12
_LINES_AFTER = 3
# A service writes of its end a moment before and after it.
_AROUND_SECONDS = 0.5


@dataclass(frozen=True, kw_only=True)
class Suspect:
    """``reason``: what happened to ``service``, as the rest of a sentence that begins with its name. ``weight``: higher
    is likelier. ``lines``: its log where it happened."""

    service: str
    reason: str
    weight: int
    lines: Sequence[str]


def suspects(services: Iterable[Service], records: Iterable[Record], start: float, stop: float) -> list[Suspect]:
    """Return the services that died, ran out of memory, went unhealthy, were restarted or paused, or wrote what looks
    like errors during a test, or were down before it; the likeliest first."""
    stop += _AROUND_SECONDS
    events: dict[str, list[Record]] = {}
    for record in records:
        if record["type"] == "event" and start <= record["time"] <= stop:
            events.setdefault(record["service"], []).append(record)
    found = [_suspect(service, events.get(service.name, []), start, stop) for service in services]
    return sorted((one for one in found if one is not None), key=lambda one: -one.weight)


def within(service: Service, start: float, stop: float) -> list[Line]:
    """Return the lines that it wrote between two times."""
    return [line for line in service.lines if start <= line.time <= stop]


def _suspect(service: Service, events: Sequence[Record], start: float, stop: float) -> Suspect | None:
    state, actions = service.state, {event["action"] for event in events}
    died = next((event for event in reversed(events) if event["action"] == "die"), None)
    time = stop
    if died is not None and not service.done:
        out_of_memory = "oom" in actions or (state.get("OOMKilled") and not state.get("Running"))
        reason, weight = _death(died, actions, bool(out_of_memory), events)
        time = died["time"]
    elif not state.get("Running", True) and not service.done:
        reason, weight = f"was not running: it had exited with {state.get('ExitCode')} before this test", 70
    elif "oom" in actions:  # the kernel killed a process of it, not the first
        reason, weight = "lost a process for lack of memory during this test", 90
    elif any(action.startswith("health_status") and "unhealthy" in action for action in actions):
        reason, weight = "went unhealthy during this test", 60
    elif state.get("Paused"):
        reason, weight = "is paused", 50
    elif "pause" in actions:
        reason, weight = "was paused during this test", 40
    else:
        return _noisy(service, [line for line in within(service, start, stop) if line.error])
    lines = [line.text for line in service.lines if line.time <= time + _AROUND_SECONDS][-_LINES_OF_THE_DEAD:]
    return Suspect(service=service.name, reason=reason, weight=weight, lines=lines)


def _death(died: Record, actions: set[str], out_of_memory: bool, events: Sequence[Record]) -> tuple[str, int]:
    code = died.get("exit_code")
    if out_of_memory:
        return f"ran out of memory during this test (exit code {code})", 100
    if "restart" in actions:
        return "was restarted during this test", 45
    signals = [event.get("signal") for event in events if event["action"] == "kill"]
    # A stop is SIGTERM and, if need be, SIGKILL; a kill is one signal.
    if "stop" in actions:
        reason, weight = f"was stopped during this test (exit code {code})", 75
    elif signals:
        reason, weight = f"was killed with signal {signals[-1]} during this test (exit code {code})", 80
    else:
        reason, weight = f"exited with {code} during this test", 95
    back = any(event["action"] == "start" and event["time"] >= died["time"] for event in events)
    return (f"{reason}, and started again", weight - 5) if back else (reason, weight)


def _noisy(service: Service, errors: Sequence[Line]) -> Suspect | None:
    if not errors:
        return None
    count = "a line that looks like an error" if len(errors) == 1 else f"{len(errors)} lines that look like errors"
    end = service.lines.index(errors[-1]) + 1 + _LINES_AFTER
    return Suspect(
        service=service.name,
        reason=f"wrote {count} during this test",
        weight=min(30, 10 + len(errors)),
        lines=[line.text for line in service.lines[max(0, end - _LINES_OF_OTHERS) : end]],
    )
