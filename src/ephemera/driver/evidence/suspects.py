"""Suspects: which services may be why a test failed, by what happened to them while it ran."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ephemera.driver.evidence.lines import Line, within
from ephemera.driver.recording import Record

_LINES_OF_THE_DEAD = 20
_LINES_OF_OTHERS = 12
_LINES_AFTER = 3
# What a service says of its end is written a moment before and after it.
AROUND_SECONDS = 0.5


@dataclass(frozen=True, kw_only=True)
class Suspect:
    """``reason``: what happened, as the rest of a sentence that begins with the service's name; ``weight``: the more,
    the likelier. ``lines``: the log where it happened."""

    service: str
    reason: str
    weight: int
    lines: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A service, as far as it can be suspected: the engine's ``State`` of its container now, and its log; ``done``:
    whether it is a one-shot that has ended well, which nobody is suspected for."""

    service: str
    state: Mapping[str, Any]
    lines: Sequence[Line]
    done: bool = False


def suspects(subjects: Iterable[Subject], records: Iterable[Record], start: float, stop: float) -> list[Suspect]:
    """Services that died, ran out of memory, went unhealthy, were restarted or paused, or wrote what looks like errors
    between two times, or were already down; the likeliest first. Services about which there is nothing are left out."""
    events: dict[str, list[Record]] = {}
    for record in records:
        if record["type"] == "event" and start <= record["time"] <= stop:
            events.setdefault(record["service"], []).append(record)
    found = [_suspect(subject, events.get(subject.service, []), start, stop) for subject in subjects]
    return sorted((one for one in found if one is not None), key=lambda one: -one.weight)


def _suspect(subject: Subject, events: Sequence[Record], start: float, stop: float) -> Suspect | None:
    died = next((event for event in reversed(events) if event["action"] == "die"), None)
    actions = {event["action"] for event in events}
    if died is not None and not subject.done:
        out_of_memory = "oom" in actions or (subject.state.get("OOMKilled") and not subject.state.get("Running"))
        return _of(subject, *_death(died, actions, bool(out_of_memory), events), died["time"])
    if not subject.state.get("Running", True) and not subject.done:
        reason = f"was not running: it had exited with {subject.state.get('ExitCode')} before this test"
        return _of(subject, reason, 70, stop)
    if "oom" in actions:  # the kernel killed a process of it, not the first
        return _of(subject, "lost a process for lack of memory during this test", 90, stop)
    if any(action.startswith("health_status") and "unhealthy" in action for action in actions):
        return _of(subject, "went unhealthy during this test", 60, stop)
    if subject.state.get("Paused"):
        return _of(subject, "is paused", 50, stop)
    if "pause" in actions:
        return _of(subject, "was paused during this test", 40, stop)
    errors = [line for line in within(subject.lines, start, stop) if line.error]
    if errors:
        count = "a line that looks like an error" if len(errors) == 1 else f"{len(errors)} lines that look like errors"
        return Suspect(
            service=subject.service,
            reason=f"wrote {count} during this test",
            weight=min(30, 10 + len(errors)),
            lines=_around(subject.lines, errors[-1]),
        )
    return None


def _death(died: Record, actions: set[str], out_of_memory: bool, events: Sequence[Record]) -> tuple[str, int]:
    code = died.get("exit_code")
    back = any(event["action"] == "start" and event["time"] >= died["time"] for event in events)
    if out_of_memory:
        return f"ran out of memory during this test (exit code {code})", 100
    signals = [event.get("signal") for event in events if event["action"] == "kill"]
    # A stop is a polite signal and, if need be, SIGKILL; a kill is one signal. Either is somebody's wish.
    if "restart" in actions:
        reason, weight = "was restarted during this test", 45
    elif "stop" in actions:
        reason, weight = f"was stopped during this test (exit code {code})", 75
    elif signals:
        reason, weight = f"was killed with signal {signals[-1]} during this test (exit code {code})", 80
    else:
        reason, weight = f"exited with {code} during this test", 95
    return (f"{reason}, and started again", weight - 5) if back and "restart" not in actions else (reason, weight)


def _of(subject: Subject, reason: str, weight: int, time: float) -> Suspect:
    lines = [line.text for line in subject.lines if line.time <= time + AROUND_SECONDS]
    return Suspect(service=subject.service, reason=reason, weight=weight, lines=tuple(lines[-_LINES_OF_THE_DEAD:]))


def _around(lines: Sequence[Line], last: Line) -> tuple[str, ...]:
    end = lines.index(last) + 1 + _LINES_AFTER
    return tuple(line.text for line in lines[max(0, end - _LINES_OF_OTHERS) : end])
