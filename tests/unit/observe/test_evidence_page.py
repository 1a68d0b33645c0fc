from __future__ import annotations

import base64
import hashlib
import json
import re
import time
from html.parser import HTMLParser
from typing import Any

import pytest

from ephemera.model.errors import EngineError, EphemeraError, ServiceFailedError
from ephemera.observe.findings import Findings, Kind, Service
from ephemera.observe.page import render

_EVIL = "</script><script>alert(1)</script><img src=x onerror=alert(2)> & \"'"
_START = 1767225600.0


class _Page(HTMLParser):
    """What a browser would make of it: elements, their attributes, and text outside of scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.styles: list[str] = []
        self.text = ""
        self._in = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._in = tag
        if tag == "script":
            self.scripts.append("")
        elif tag == "style":
            self.styles.append("")

    def handle_endtag(self, tag: str) -> None:
        self._in = ""

    def handle_data(self, data: str) -> None:
        if self._in == "script":
            self.scripts[-1] += data
        elif self._in == "style":
            self.styles[-1] += data
        else:
            self.text += data

    @property
    def data(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.scripts[0])
        return document


def _service(name: str, log: str = "", **state: Any) -> Service:
    document = {
        "Name": f"/{name}",
        "Config": {"Image": "sha256:" + "a" * 64, "Cmd": ["serve", _EVIL], "Env": []},
        "State": {"Status": "running", "Running": True, "StartedAt": "2026-01-01T00:00:00.5Z", **state},
        "HostConfig": {"Memory": 64 * 2**20},
    }
    return Service(name=name, document=document, log=log)


def _findings(
    kind: Kind = "asked",
    services: list[Service] | None = None,
    records: list[dict[str, Any]] | None = None,
    error: EphemeraError | None = None,
) -> Findings:
    return Findings(
        stack="shop-main",
        system="shop",
        branch="main",
        taken=_START + 60,
        kind=kind,
        error=error.document()["error"] if error else None,
        services=services or [],
        records=records or [],
        outputs={"stack": "shop-main"},
        definition={"config": {}},
    )


def _test(nodeid: str, outcome: str, start: float, text: str = "", session: str = "1") -> dict[str, Any]:
    return {"type": "test", "time": start + 1, "session": session, "nodeid": nodeid, "start": start, "stop": start + 1,
            "outcome": outcome, "phase": "call", "text": text}  # fmt: skip


def test_what_containers_and_tests_wrote_is_text_and_nothing_else() -> None:
    log = f"2026-01-01T00:00:01.000000000Z {_EVIL}\n"
    records = [
        _test(f"test_a[{_EVIL}]", "failed", _START, f"E   {_EVIL}"),
        {"type": "gate", "time": _START, "service": "web", "state": "waiting", "seconds": 0, "detail": _EVIL},
        {"type": "event", "time": _START, "service": _EVIL, "action": _EVIL, "exit_code": 1, "signal": _EVIL},
        {"type": "session", "time": _START, "what": _EVIL},
    ]
    error = ServiceFailedError("web", _EVIL, log_tail=[_EVIL])
    page = _Page(render(_findings("test", [_service("web", log)], records, error), [f"{_EVIL}.log"]))
    assert "img" not in {tag for tag, _ in page.elements}
    assert len(page.scripts) == 2
    assert not [name for _, attributes in page.elements for name in attributes if name.startswith("on")]
    assert page.text.count(_EVIL) >= 6
    assert page.data["lines"][0][2] == _EVIL
    assert page.data["services"][1]["name"] == _EVIL


def test_the_browser_runs_only_its_script_and_loads_nothing() -> None:
    text = render(_findings(), ["web.log"])
    page = _Page(text)
    [policy] = [attributes["content"] or "" for tag, attributes in page.elements if "http-equiv" in attributes]
    assert policy.startswith("default-src 'none'; ")
    for kind, source in (("script", page.scripts[1]), ("style", page.styles[0])):
        digest = base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy
    assert not re.search(r"(?:src|href)=\"(?:https?:)?//", text)
    assert not [
        tag for tag, attributes in page.elements if tag == "link" or "src" in attributes or "style" in attributes
    ]


def test_a_failed_gate_is_told_with_cause_code_and_last_lines() -> None:
    error = ServiceFailedError(
        "web", "exited before it was ready (exit code 7)", container_exit_code=7, log_tail=["no config"]
    )
    page = _Page(render(_findings("gate", error=error), []))
    said = page.text[: page.text.index("What happened when")]
    for part in ("shop did not become ready", "service 'web' exited before it was ready", "exit code 7", "no config"):
        assert part in said


def test_a_failed_destroy_says_what_the_engine_said_and_stands_on_the_axis() -> None:
    page = _Page(
        render(_findings("destroy", error=EngineError("destroy failed", remedy="volume in use", output=["last"])), [])
    )
    assert "could not be destroyed" in page.text
    assert "Pulumi says volume in use" in page.text
    assert page.data["failure"] == "could not be destroyed"


def test_failed_tests_are_told_with_suspects_and_marked_on_the_axis() -> None:
    log = "2026-01-01T00:00:05.000000000Z goodbye\n"
    records = [
        _test("test_a", "passed", _START + 2),
        {"type": "event", "time": _START + 5.1, "service": "web", "action": "die", "exit_code": 137},
        _test(
            "test_b", "failed", _START + 5, "def test_b():\n>  get()\nE   First: x\nlines\nE   Last: y\nE    + where"
        ),
    ]
    page = _Page(render(_findings("test", [_service("web", log, Running=False)], records), []))
    assert "test_b failed" in page.text
    assert "Last: y" in page.text
    assert "web exited with 137 during this test" in page.text
    assert page.text.count("goodbye") == 1
    assert page.data["tests"] == [
        {"start": _START + 2, "stop": _START + 3, "outcome": "passed", "name": "test_a", "text": "", "told": False},
        {
            "start": _START + 5,
            "stop": _START + 6,
            "outcome": "failed",
            "name": "test_b",
            "text": "Last: y",
            "told": True,
        },
    ]


def test_failures_of_an_earlier_run_are_only_on_the_axis() -> None:
    records = [_test("test_old", "failed", _START, "E  a", "1"), _test("test_new", "failed", _START + 9, "E  b", "2")]
    page = _Page(render(_findings("test", records=records), []))
    assert "test_new failed" in page.text
    assert "test_old" not in page.text
    assert [(test["name"], test["told"]) for test in page.data["tests"]] == [("test_old", False), ("test_new", True)]


def test_lines_stand_on_one_axis_by_time() -> None:
    logs = {
        "web": "2026-01-01T00:00:01.000000000Z one\n2026-01-01T00:00:03.000000000Z three ERROR\n",
        "db": "2026-01-01T00:00:02.000000000Z two\n",
    }
    data = _Page(render(_findings(services=[_service(name, log) for name, log in logs.items()]), [])).data
    assert data["lines"] == [
        [_START + 1, 0, "one", 0],
        [_START + 2, 1, "two", 0],
        [_START + 3, 0, "three ERROR", 1],
    ]


def test_curves_are_memory_and_cores_between_samples() -> None:
    records = [
        {"type": "usage", "time": _START + 2 * number, "services": {"web": [number * 2**20, number * 1.0, 3]}}
        for number in range(1, 4)
    ]
    [web] = _Page(render(_findings(services=[_service("web")], records=records), [])).data["services"]
    assert web["usage"] == [
        [_START + 2, 2**20, 0.0, 3],
        [_START + 4, 2 * 2**20, 0.5, 3],
        [_START + 6, 3 * 2**20, 0.5, 3],
    ]
    assert web["limit"] == 64 * 2**20


def test_service_whose_container_is_gone_still_has_its_lane() -> None:
    records = [{"type": "event", "time": _START, "service": "gone", "action": "destroy"}]
    data = _Page(render(_findings(records=records), [])).data
    assert [service["name"] for service in data["services"]] == ["gone"]


@pytest.mark.parametrize("count", [10_000, 60_000])
def test_long_logs_make_no_long_page_nor_take_long(count: int) -> None:
    log = "".join(
        f"2026-01-01T00:{n // 60000:02}:{n // 1000 % 60:02}.{n % 1000:03}000000Z request {n}\n" for n in range(count)
    )
    services = [_service("web", log), _service("db", "2026-01-01T00:00:00Z " + "x" * 100_000)]
    started = time.process_time()
    text = render(_findings("test", services, [_test("a", "failed", _START, "E  x")]), [])
    assert time.process_time() - started < 1.0
    assert len(text) < 3_000_000
    data = _Page(text).data
    [web, _] = data["services"]
    assert web["log"] == {"file": "web.log", "left_out": count - 5000}
    assert [line for line in data["lines"] if line[1] == 0][-1][2] == f"request {count - 1}"
