"""Where the time of an ``up`` went: from its events to what took time, and to the critical path.

Pure. Every event has ``at``, seconds on the machine's monotonic clock, which all of its processes share. Besides the
program's own (:mod:`ephemera.model.progress`) there are, with ``--timeline``:

``{"type": "phase", "name"}``: what the command does from now on
``{"type": "resource", "state": "begun" | "done", "op", "urn", "custom"}``: a step of Pulumi's engine
``{"type": "dependencies", "of"}``: URN → URNs of what it is made after, as the state has it
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from ephemera.model.progress import Event

PROGRAM = "program"
"""The phase in which the program runs: resources and gates belong to it."""

_START, _IMAGES, _ENGINE_END = "start", "images", "engine end"
CONTAINER = "docker:index/container:Container"
_STACK = "pulumi:pulumi:Stack"
_PROVIDERS = "pulumi:providers:"
_DELETES = ("delete", "discard")
# Of a replacement there are two steps; this one only announces them.
_ANNOUNCED = "replace"
# The moment at which the program asked for a component.
_ASKED = "asked"
# News of the engine and of the program come by two ways, and may overtake each other.
_SKEW_SECONDS = 0.01


@dataclass(frozen=True, kw_only=True, eq=False)
class Segment:
    """Something that took time; ``start``, ``end``: seconds since the command's start.

    ``kind``: ``phase`` of the command; an operation of the engine (``create``, ``update``, ``delete``, ``same``,
    ``delete-replaced``, ``create-replacement`` …), with the resource's type token as ``type``; ``gate`` of a service;
    ``wait`` of a resource for ``waits_for``, the last of what it needs; ``gap`` before what it is named after, in which
    the engine compares resources with their state.
    ``critical``: on the critical path. ``urn``: of the resource, or of the gate's container.
    """

    kind: str
    name: str
    start: float
    end: float
    type: str = ""
    waits_for: str = ""
    critical: bool = False
    urn: str = ""

    @property
    def seconds(self) -> float:
        """Return how long it took."""
        return round(self.end - self.start, 3)

    @property
    def is_provider(self) -> bool:
        """Whether it is the start of a provider's plugin."""
        return self.type.startswith(_PROVIDERS)

    def document(self) -> dict[str, Any]:
        """Return it as plain values."""
        found = {key: value for key, value in asdict(self).items() if value != "" and key != "urn"}
        return found | {"seconds": self.seconds}


@dataclass(frozen=True, kw_only=True)
class Timeline:
    """``segments``: everything, by start. ``path``: the critical path, from the start to the end without a hole: its
    seconds add up to ``seconds``, those of the whole."""

    seconds: float
    segments: Sequence[Segment]
    path: Sequence[Segment]

    def share(self, segment: Segment) -> float:
        """Return which part of the whole a segment is, 0 to 1."""
        return round(segment.seconds / self.seconds, 3) if self.seconds else 0.0

    def document(self) -> dict[str, Any]:
        """Return it as plain values."""
        path = [{**each.document(), "share": self.share(each)} for each in self.path]
        for each in path:
            del each["critical"]
        return {"seconds": self.seconds, "segments": [each.document() for each in self.segments], "critical_path": path}


def phase(name: str) -> Event:
    """Return the event that a phase of the command begins."""
    return {"type": "phase", "name": name}


def build(events: Iterable[Event], started: float, ended: float) -> Timeline:
    """Return the timeline of a command that began and ended then; ``events`` in any order."""
    seconds = round(ended - started, 3)
    by_time = sorted(events, key=lambda each: each["at"])
    graph = _Graph([{**event, "at": round(event["at"] - started, 3)} for event in by_time], seconds)
    path = list(graph.critical_path(seconds))
    critical = {id(each) for each, _ in path}
    shown = [replace(each, critical=id(each) in critical) for each in (*graph.phases, *graph.work)]
    return Timeline(
        seconds=seconds,
        segments=sorted([*shown, *graph.waits()], key=lambda each: (each.start, each.end)),
        path=[piece for _, piece in reversed(path) if piece.end > piece.start],
    )


class _Graph:
    """Everything that took time, and what it came after."""

    def __init__(self, events: Sequence[Event], end: float) -> None:
        self.made = _made(events)
        self.work = [each for made in self.made.values() for each in made if each.kind != _ASKED]
        self.phases = list(_phases(events, self.made, end))
        of = [event["of"] for event in events if event["type"] == "dependencies"]
        self.after: Mapping[str, Sequence[str]] = {urn: needed for each in of for urn, needed in each.items()}

    def waits(self) -> Iterator[Segment]:
        """Yield how long each resource waited for what it needs, since the program had asked for it."""
        for first, *_ in self.made.values():
            before = self._before(first)
            asked = [each.end for each in before if each.kind == _ASKED]
            needed = [each for each in before if each.kind != _ASKED and not each.is_provider]
            if not asked or not needed or first.kind in (_ASKED, *_DELETES):
                continue
            last = max(needed, key=lambda each: each.end)
            start, end = max(asked), min(last.end, first.start)
            if end > start:
                yield replace(first, kind="wait", start=start, end=end, waits_for=f"{last.kind} {last.name}")

    def critical_path(self, reached: float) -> Iterator[tuple[Segment, Segment]]:
        """Yield each segment of the path with the piece of the path that it is, backwards from the end.

        What ended last of all that a segment is made after is why it did not begin sooner; time that nothing accounts
        for is a gap. A step of which the engine told later than of all that came after it has no piece left; the path
        goes on with what it is made after. None is passed twice, and the phases lead to the start.
        """
        current = following = self.phases[-1]
        passed: set[int] = set()
        while True:
            if current.end < reached:
                gap = replace(following, kind="gap", start=current.end, end=reached, critical=True)
                yield gap, gap
                reached = current.end
            yield current, replace(current, critical=True, start=min(current.start, reached), end=reached)
            if current is self.phases[0]:
                return
            reached = min(current.start, reached)
            passed.add(id(current))
            earlier = [each for each in self._preceding(current) if id(each) not in passed] or self._first_phases()
            following, current = current, max(earlier, key=lambda each: (min(each.end, reached), each.start))

    def _preceding(self, segment: Segment) -> list[Segment]:
        if segment.kind != "phase":
            return [*self._before(segment), *self._first_phases()]
        earlier = self.phases[: self.phases.index(segment)][-1:]
        return [*earlier, *self.work] if segment.name == _ENGINE_END else earlier

    def _before(self, segment: Segment) -> list[Segment]:
        """Return what ``segment`` came after: of the same resource, of what it needs, and before something is deleted,
        of what needs it. What the program does not have any more is deleted when all else is done."""
        own = self.made[segment.urn]
        found = own[: own.index(segment)]
        if segment.kind == "gate":  # of which the program may tell before the engine tells of the container
            return found[-1:]
        # A service's outputs come through its gate; one that was still closed was not waited for.
        found += [each for needed in self.after.get(segment.urn, ()) for each in self.made.get(needed, ())]
        if segment.kind.startswith(_DELETES):
            users = [user for user, needed in self.after.items() if segment.urn in needed]
            found += [each for user in users for each in self.made.get(user, ()) if each.kind == segment.kind]
        if segment.kind in _DELETES:
            found += [each for each in self.work if each.kind not in _DELETES]
        return [each for each in found if each.end <= segment.start + _SKEW_SECONDS and each is not segment]

    def _first_phases(self) -> list[Segment]:
        """Return the phase before the first resource."""
        names = [phase.name for phase in self.phases]
        return self.phases[: names.index(_ENGINE_END) if _ENGINE_END in names else None][-1:]


def _made(events: Iterable[Event]) -> dict[str, list[Segment]]:
    """Return by URN the steps of each resource, with a container's gate after them; of a component, when it was asked
    for."""
    made: dict[str, list[Segment]] = {}
    begun: dict[tuple[str, str], float] = {}
    waiting: dict[str, float] = {}
    gates: dict[str, Segment] = {}
    for event in events:
        at = event["at"]
        if event["type"] == "resource" and event["op"] != _ANNOUNCED:
            urn, op = event["urn"], event["op"]
            _, _, types, name = urn.split("::", 3)
            step = Segment(kind=op, name=name, start=at, end=at, type=types.rpartition("$")[2], urn=urn)
            if event["state"] == "begun":
                begun.setdefault((urn, op), at)
                if not event["custom"] and not op.startswith(_DELETES):
                    made.setdefault(urn, [replace(step, kind=_ASKED)])
            elif event["custom"] and (urn, op) in begun:
                made.setdefault(urn, []).append(replace(step, start=begun.pop((urn, op))))
        elif event["type"] == "gate":
            service = event["service"]
            start = waiting.setdefault(service, at)
            if event["state"] == "ready":
                gates[service] = Segment(kind="gate", name=service, start=start, end=at)
    for urn, steps in made.items():
        if steps[0].type == CONTAINER and (gate := gates.get(steps[0].name)):
            steps.append(replace(gate, urn=urn))
    return made


def _phases(events: Iterable[Event], made: Mapping[str, Sequence[Segment]], end: float) -> Iterator[Segment]:
    """Yield the command's phases; the program's without what its resources and gates account for."""
    marks = [(0.0, _START), *((event["at"], event["name"]) for event in events if event["type"] == "phase")]
    built = [event["at"] for event in events if event["type"] == "building"]
    work = [each for steps in made.values() for each in steps if each.type != _STACK]
    for (start, name), until in zip(marks, [*(at for at, _ in marks[1:]), end], strict=True):
        parts = [(name, start, until)]
        if name == PROGRAM:
            first = max(start, min((each.start for each in work), default=until))
            last = min(until, max([first, *(each.end for each in work)]))
            images = [(PROGRAM, start, built[0]), (_IMAGES, built[0], built[-1])] if built else []
            parts = [*images, (PROGRAM, built[-1] if built else start, first), (_ENGINE_END, last, until)]
        for part, since, to in parts:
            yield Segment(kind="phase", name=part, start=since, end=to)
