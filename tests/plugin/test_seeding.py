"""The suite's seed data: put in once for each environment, before a test sees it, by the process that holds it."""

from __future__ import annotations

import re
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from ephemera.home import leases
from ephemera.pytest_plugin.broker import Broker, ask
from ephemera.pytest_plugin.systems import Wanted
from tests.plugin.doubles import SYSTEMS, FakeDriver, Project, explanations

_SEEDED = SYSTEMS.replace('suite="suites/shop"', 'suite="suites/shop", seed="seeds:orders"')
# What seeds do is seen in a file, which is there for every process.
_SEEDS = """
from pathlib import Path

GIVEN = []

def orders(environment):
    GIVEN.append(environment)
    assert environment.open
    with Path("seeded").open("a") as file:
        file.write(environment.stack + "\\n")
"""
_USES = """
from pathlib import Path
import seeds

def seen(): return Path("seeded").read_text().split() if Path("seeded").exists() else []
def test_uses(environment):
    assert environment.stack in seen()
    assert not any(given.open for given in seeds.GIVEN)
"""


@pytest.fixture
def seeded(project: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """The project, whose shop has a seed."""
    project.write({"systems.py": _SEEDED, "seeds.py": _SEEDS.replace("\\\\", "\\"), "suites/shop/test_1.py": _USES})
    monkeypatch.syspath_prepend(project.folder)
    return project


def test_once_and_before_the_first_test_sees_it(seeded: Project) -> None:
    seeded.write({"suites/shop/test_2.py": _USES, "suites/bank/test_3.py": "def test_other(environment): pass"})
    result = seeded.run()
    result.assert_outcomes(passed=3)
    result.stdout.re_match_lines(
        [
            r"ephemera: shop-main-\w{6} is ready after .*",
            r"ephemera: shop-main-\w{6} is seeded by seeds:orders after .*",
        ]
    )
    assert len(_stacks(seeded)) == 1


def test_all_workers_are_given_one_that_was_seeded_once(seeded: Project) -> None:
    broker, together = Broker(None, print), threading.Barrier(4)
    path, wanted = broker.listen(), Wanted(project=seeded.folder, system="shop")

    def worker() -> list[str]:
        together.wait(10)
        stack = ask(path, wanted).stack
        assert _stacks(seeded) == [stack]
        return [stack]

    with ThreadPoolExecutor(4) as pool:
        answers = [future.result(10) for future in [pool.submit(worker) for _ in range(4)]]
    broker.close(keep=False)
    assert answers == [_stacks(seeded)] * 4


def test_environments_of_a_factory_are_seeded_unless_told_not_to(seeded: Project) -> None:
    seeded.write(
        {
            "suites/shop/test_1.py": _USES
            + """
def test_own(environment_factory):
    assert environment_factory().stack in seen()
    assert environment_factory(seed=False).stack not in seen()
"""
        }
    )
    seeded.run("-k", "own").assert_outcomes(passed=1)
    assert seeded.driver.alive == {}


def test_attached_environment_is_seeded_unless_it_was_already(seeded: Project) -> None:
    seeded.driver.start("shop-main", "shop")
    for _ in range(2):
        seeded.run("--ephemera-env", "shop-main").assert_outcomes(passed=1)
        assert _stacks(seeded) == ["shop-main"]
    lease = leases.read("shop-main")
    assert lease is not None
    assert lease.seeded


_RAISES = """
def orders(environment):
    place("3 WIDGETS")

def place(order):
    raise KeyError(order)
"""


def test_seed_that_raises_fails_the_systems_tests_and_ends_its_environment(seeded: Project) -> None:
    seeded.write(
        {
            "seeds.py": _RAISES,
            "suites/shop/test_1.py": "def test_one(environment): pass\ndef test_two(environment): pass",
            "suites/bank/test_2.py": "def test_other(environment): pass",
        }
    )
    result = seeded.run()
    result.assert_outcomes(passed=1, errors=2)
    for shown in explanations(result):
        assert re.fullmatch(r"seed 'seeds:orders' failed in shop-main-\w{6}: KeyError: '3 WIDGETS'", shown[0])
        assert [line.strip() for line in shown if "File" in line] == [
            f'File "{seeded.folder}/seeds.py", line 3, in orders',
            f'File "{seeded.folder}/seeds.py", line 6, in place',
        ]
        assert shown[-2] == "  KeyError: '3 WIDGETS'"
        assert shown[-1].startswith(f"  evidence: {seeded.folder}/.ephemera/artifacts/")
    assert sorted(call.rpartition(": ")[2] for call in seeded.driver.calls) == [
        "down bank",
        "down shop",
        "up bank",
        "up shop",
    ]
    assert seeded.driver.calls.index("test_one: down shop") == seeded.driver.calls.index("test_one: up shop") + 1
    assert list((seeded.folder / ".ephemera" / "artifacts").glob("*shop-main-*"))


def test_seed_that_raises_in_an_attached_environment_leaves_it(seeded: Project) -> None:
    seeded.driver.start("shop-main", "shop")
    seeded.write({"seeds.py": _RAISES})
    seeded.run("--ephemera-env", "shop-main").assert_outcomes(errors=1)
    lease = leases.read("shop-main")
    assert lease is not None
    assert not lease.seeded
    assert seeded.driver.calls == []


def test_seed_that_raises_where_failures_are_kept(seeded: Project) -> None:
    seeded.write({"seeds.py": _RAISES})
    result = seeded.run("--ephemera-keep-on-failure")
    result.assert_outcomes(errors=1)
    (stack,) = seeded.driver.alive
    result.stdout.fnmatch_lines([f"ephemera: {stack} is kept for inspection:"])


@pytest.mark.parametrize(
    ("seeds", "message"),
    [
        ("orders = 3", "'seeds:orders' is a int: it must be a Callable"),
        ("", "'seeds:orders' cannot be imported: *no attribute 'orders'*"),
        ("1 / 0", "'seeds:orders' cannot be imported: ZeroDivisionError: division by zero (*seeds.py:1)"),
    ],
)
def test_seed_that_is_none_is_found_out_before_anything_is_made(
    seeded: Project, driver: FakeDriver, seeds: str, message: str
) -> None:
    seeded.write({"seeds.py": seeds, "suites/shop/test_1.py": "def test_it(environment): pass"})
    result = seeded.run()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([message])
    assert driver.calls == []


def test_seed_that_calls_us_wrongly_is_shown_where(seeded: Project) -> None:
    seeded.write({"seeds.py": "def orders(environment):\n    environment.service('wep')\n"})
    shown = explanations(seeded.run())[0]
    assert [line.strip() for line in shown if "File" in line] == [f'File "{seeded.folder}/seeds.py", line 2, in orders']
    assert shown[-2].endswith("'wep': did you mean 'web'? known: web")


@pytest.mark.parametrize(
    ("ending", "said"),
    [("pytest.skip('not today')", "*Skipped: not today"), ("environment.require('lab')", "*has no 'lab'*")],
)
def test_seed_cannot_skip(seeded: Project, ending: str, said: str) -> None:
    seeded.write({"seeds.py": f"import pytest\ndef orders(environment): {ending}"})
    result = seeded.run()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([f"seed 'seeds:orders' failed in shop-main-*: {said}"])


def _stacks(project: Project) -> list[str]:
    return (project.folder / "seeded").read_text().split()
