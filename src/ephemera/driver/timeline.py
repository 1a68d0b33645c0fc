"""Where the time of an ``up`` went: from its events to what took time, and to the critical path.

Pure. Every event has ``at``, seconds on the machine's monotonic clock, which all of its processes share. Besides the
program's own (:mod:`ephemera.contract.progress`) there are, when they are asked for:

``{"type": "phase", "name"}``: what the command does from now on
``{"type": "resource", "state": "begun" | "done", "op", "urn", "custom"}``: a step of the engine
``{"type": "dependencies", "of"}``: URN → those of what it is made after, as the state has it
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from ephemera.contract.progress import Event

PROGRAM = "program"
"""The phase in which the program runs: resources and gates belong to it."""

_START, _IMAGES, _ENGINE_END = "start", "images", "engine end"
CONTAINER = "docker:index/container:Container"
_STACK = "pulumi:pulumi:Stack"
_DELETES = ("delete", "discard")
# Of a replacement there are two steps; this one only says so.
_ANNOUNCED = "replace"
# Engine and program tell of what they do in two ways; what comes by one may overtake what comes by the other.
_SKEW_SECONDS = 0.01


@dataclass(frozen=True, kw_only=True, eq=False)
class Segment:
    """Something that took time; ``start``, ``end``: seconds since the command's start.

    ``kind``: ``phase`` of the command; an operation of the engine (``create``, ``update``, ``delete``, ``same``,
    ``delete-replaced``, ``create-replacement`` …), with the resource's type token as ``type``; ``gate`` of a service;
    ``wait`` of a resource for ``waits_for``, the last of what it needs; ``gap`` before what it is named after: what
    that came after had ended, and it had not begun (the engine compares it with the state).
    ``critical``: on the critical path.
    """

    kind: str
    name: str
    start: float
    end: float
    type: str = ""
    waits_for: str = ""
    critical: bool = False

    @property
    def seconds(self) -> float:
        """How long."""
        return round(self.end - self.start, 3)


@dataclass(frozen=True, kw_only=True)
class Timeline:
    """``segments``: everything, by start. ``path``: the critical path, from the start to the end without a hole: its
    seconds add up to ``seconds``, those of the whole."""

    seconds: float
    segments: Sequence[Segment]
    path: Sequence[Segment]

    def share(self, segment: Segment) -> float:
        """Part of the whole that a segment is, 0 to 1."""
        return round(segment.seconds / self.seconds, 3) if self.seconds else 0.0

    def document(self) -> dict[str, Any]:
        """As plain values, seconds since the command's start."""
        return {
            "seconds": self.seconds,
            "segments": [_document(each) for each in self.segments],
            "critical_path": [
                {key: value for key, value in _document(each).items() if key != "critical"}
                | {"share": self.share(each)}
                for each in self.path
            ],
        }


def phase(name: str) -> Event:
    """The event that says so."""
    return {"type": "phase", "name": name}


def build(events: Iterable[Event], started: float, ended: float) -> Timeline:
    """The timeline of a command that began and ended then; ``events`` in whatever order they came in."""
    at = [{**event, "at": round(event["at"] - started, 3)} for event in sorted(events, key=lambda each: each["at"])]
    graph = _Graph(at, round(ended - started, 3))
    path = list(graph.critical_path())
    critical = {id(each) for each, _ in path}
    everything = [replace(each, critical=id(each) in critical) for each in graph.shown()]
    return Timeline(
        seconds=graph.end,
        segments=sorted([*everything, *graph.waits()], key=lambda each: (each.start, each.end)),
        path=[piece for _, piece in reversed(path) if piece.end > piece.start],
    )


def is_provider(segment: Segment) -> bool:
    """Whether it is of a provider: the plugin's start, not a resource of the program's."""
    return segment.type.startswith("pulumi:providers:")


@dataclass
class _Graph:
    """Everything that took time, and what it came after."""

    events: list[Event]
    end: float
    phases: list[Segment] = field(default_factory=list)
    steps: dict[str, list[Segment]] = field(default_factory=dict)
    """By URN, in order."""
    registered: dict[str, Segment] = field(default_factory=dict)
    """Components, by URN: moments at which the program made them."""
    gates: dict[str, Segment] = field(default_factory=dict)
    """By the URN of the container."""
    after: dict[str, Sequence[str]] = field(default_factory=dict)
    """URN → those of what it is made after."""

    def __post_init__(self) -> None:
        for event in self.events:
            if event["type"] == "dependencies":
                self.after.update(event["of"])
        self._take_resources()
        self._take_gates()
        self._take_phases()

    def shown(self) -> list[Segment]:
        """All but the moments at which components were made."""
        return [*self.phases, *self._work()]

    def waits(self) -> Iterator[Segment]:
        """What each resource waited for after the program had asked for it, of what it needs."""
        for urn, steps in self.steps.items():
            asked = max(self._of(self.after.get(urn, ()), steps[0]), key=lambda found: found.end, default=None)
            needed = [found for found in self._before(urn, steps[0]) if not is_provider(found)]
            last = max(needed, key=lambda found: found.end, default=None)
            if asked is None or last is None or steps[0].kind in _DELETES:
                continue
            end = min(last.end, steps[0].start)
            if end > asked.end:
                yield replace(steps[0], kind="wait", start=asked.end, end=end, waits_for=f"{last.kind} {last.name}")

    def critical_path(self) -> Iterator[tuple[Segment, Segment]]:
        """Backwards from the end: each segment with the piece of the path that it is. What came last of all that a
        segment is made after is why it did not begin sooner; where nothing accounts for a time, that is a gap.

        A step of which the engine's news came later than all that came after it has no piece of its own left; the path
        goes on with what it is made after. None is passed twice, and the phases lead to the start.
        """
        reached, current = self.end, self.phases[-1]
        following = current
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
            following, current = current, max(earlier, key=lambda found: (min(found.end, reached), found.start))

    def _preceding(self, segment: Segment) -> list[Segment]:
        """What ``segment`` is made after, as far as it had ended."""
        if segment.kind == "phase":
            return self._before_phase(segment)
        for urn, gate in self.gates.items():
            if gate is segment:
                return self.steps.get(urn, [])[-1:] or self._first_phases()
        for urn, moment in self.registered.items():
            if moment is segment:
                return [*self._of(self.after.get(urn, ()), segment), *self._first_phases()]
        urn = next(urn for urn, steps in self.steps.items() if segment in steps)
        return [*self._before(urn, segment), *self._of(self.after.get(urn, ()), segment), *self._first_phases()]

    def _before(self, urn: str, step: Segment) -> list[Segment]:
        """Steps and gates that ``step`` came after: of the same resource, of what it needs, and before something is
        deleted, of what needs it. What the program does not have any more is deleted when all else is done."""
        own = self.steps[urn]
        found = [*own[: own.index(step)], *(each for needed in self.after.get(urn, ()) for each in self._ended(needed))]
        if step.kind.startswith(_DELETES):
            users = [user for user, needed in self.after.items() if urn in needed]
            found += [each for user in users for each in self.steps.get(user, ()) if each.kind == step.kind]
        if step.kind in _DELETES:
            found += [each for each in self._work() if each.kind not in _DELETES]
        return [each for each in found if each.end <= step.start + _SKEW_SECONDS]

    def _of(self, urns: Iterable[str], segment: Segment) -> list[Segment]:
        """Components among ``urns`` that the program had made by then."""
        moments = [self.registered[urn] for urn in urns if urn in self.registered]
        return [moment for moment in moments if moment.end <= segment.start + _SKEW_SECONDS and moment is not segment]

    def _ended(self, urn: str) -> list[Segment]:
        # A service's outputs come through its gate; one that was still closed was not waited for.
        return [*self.steps.get(urn, ()), *([self.gates[urn]] if urn in self.gates else ())]

    def _work(self) -> list[Segment]:
        return [*(step for steps in self.steps.values() for step in steps), *self.gates.values()]

    def _before_phase(self, segment: Segment) -> list[Segment]:
        position = self.phases.index(segment)
        earlier = self.phases[:position][-1:]
        return [*earlier, *self._work()] if segment.name == _ENGINE_END else earlier

    def _first_phases(self) -> list[Segment]:
        """What comes before the first resource."""
        names = [phase.name for phase in self.phases]
        position = names.index(_ENGINE_END) if _ENGINE_END in names else len(names)
        return self.phases[:position][-1:]

    def _take_resources(self) -> None:
        begun: dict[tuple[str, str], float] = {}
        for event in self.events:
            if event["type"] != "resource" or event["op"] == _ANNOUNCED:
                continue
            urn, op = event["urn"], event["op"]
            at, name, token = event["at"], _name(urn), _type(urn)
            if event["state"] == "begun":
                begun.setdefault((urn, op), at)
                if not event["custom"] and not op.startswith(_DELETES):
                    moment = Segment(kind="registered", name=name, type=token, start=at, end=at)
                    self.registered.setdefault(urn, moment)
            elif event["custom"] and (urn, op) in begun:
                step = Segment(kind=op, name=name, type=token, start=begun.pop((urn, op)), end=at)
                self.steps.setdefault(urn, []).append(step)

    def _take_gates(self) -> None:
        containers = {_name(urn): urn for urn in self.steps if _type(urn) == CONTAINER}
        waiting: dict[str, float] = {}
        for event in self.events:
            if event["type"] != "gate":
                continue
            service = event["service"]
            waiting.setdefault(service, event["at"])
            if event["state"] == "ready" and service in containers:
                gate = Segment(kind="gate", name=service, start=waiting[service], end=event["at"])
                self.gates[containers[service]] = gate

    def _take_phases(self) -> None:
        marks = [(0.0, _START), *((event["at"], event["name"]) for event in self.events if event["type"] == "phase")]
        ends = [start for start, _ in marks[1:]] + [self.end]
        for (start, name), end in zip(marks, ends, strict=True):
            parts = self._parts(start, end) if name == PROGRAM else [(name, start, end)]
            self.phases += [Segment(kind="phase", name=part, start=since, end=until) for part, since, until in parts]

    def _parts(self, start: float, end: float) -> Iterator[tuple[str, float, float]]:
        """The program's phase without what its resources and gates account for."""
        built = [event["at"] for event in self.events if event["type"] == "building"]
        made = [step.start for steps in self.steps.values() for step in steps]
        made += [moment.start for moment in self.registered.values() if moment.type != _STACK]
        first = max(start, min(made, default=end))
        if built:
            yield PROGRAM, start, built[0]
            yield _IMAGES, built[0], built[-1]
        yield PROGRAM, built[-1] if built else start, first
        yield _ENGINE_END, min(end, max([first, *(each.end for each in self._work())])), end


def _name(urn: str) -> str:
    return urn.split("::", 3)[3]


def _type(urn: str) -> str:
    """The resource's own type token; a URN has those of its parents too."""
    return urn.split("::", 3)[2].rpartition("$")[2]


def _document(segment: Segment) -> Mapping[str, Any]:
    found = asdict(segment)
    return {key: value for key, value in found.items() if value != ""} | {"seconds": segment.seconds}
