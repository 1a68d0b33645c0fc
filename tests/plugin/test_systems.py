"""Which system a test's environment is of: its folder's, its marker's, or one clear error."""

from __future__ import annotations

from fnmatch import fnmatch

import pytest

from tests.plugin.doubles import SYSTEMS, Project, explanations

_OF = "def test_{0}(environment): assert environment.system == {0!r}\n"


def test_two_systems_in_one_run_have_an_environment_each(project: Project) -> None:
    project.write(
        {
            "suites/shop/test_1.py": _OF.format("shop"),
            "suites/bank/test_2.py": _OF.format("bank"),
            "suites/shop/deep/er/test_3.py": _OF.format("shop"),
        }
    )
    project.run().assert_outcomes(passed=3)
    assert sorted(project.driver.calls) == [
        "end: down bank",
        "end: down shop",
        "test_bank: up bank",
        "test_shop: up shop",
    ]


def test_marker_names_the_system_anywhere(project: Project) -> None:
    marker = "import pytest\npytestmark = pytest.mark.environment('bank')\n"
    project.write({"unit/test_1.py": marker + _OF.format("bank"), "suites/shop/test_2.py": marker + _OF.format("bank")})
    project.run().assert_outcomes(passed=2)
    assert project.driver.calls == ["test_bank: up bank", "end: down bank"]


_IN_TURN = """
import pytest

@pytest.fixture(scope="session")
def data(environment, pytestconfig):
    yield environment.system

@pytest.mark.parametrize("number", range(3))
@pytest.mark.environment("bank")
def test_bank(environment, data, request, number):
    assert {environment.system, data, request.getfixturevalue("environment").system} == {"bank"}

@pytest.mark.parametrize("number", range(3))
def test_shop(environment, data, request, number):
    assert {environment.system, data, request.getfixturevalue("environment").system} == {"shop"}
"""


@pytest.mark.parametrize("order", ["sorted", "reversed", "in turn"])
def test_systems_in_any_order_have_one_environment_each(project: Project, order: str) -> None:
    project.write(
        {
            "suites/shop/test_1.py": _IN_TURN,
            "conftest.py": f"""
                def pytest_collection_modifyitems(items):
                    items.sort(key=lambda item: item.nodeid)
                    if {order!r} == "reversed":
                        items.reverse()
                    if {order!r} == "in turn":
                        items[:] = [item for pair in zip(items[:3], items[3:]) for item in pair]
            """,
        }
    )
    project.run().assert_outcomes(passed=6)
    assert sorted(call.rpartition(": ")[2] for call in project.driver.calls) == [
        "down bank",
        "down shop",
        "up bank",
        "up shop",
    ]


def test_environment_that_is_asked_for_by_its_name_only(project: Project) -> None:
    text = """
        def test_late(request):
            assert request.getfixturevalue("environment").system == {0!r}
    """
    project.write({"suites/shop/test_1.py": text.format("shop"), "suites/bank/test_2.py": text.format("bank")})
    project.run().assert_outcomes(passed=2)


def test_suites_own_fixtures_are_made_once_in_a_run_of_several_systems(project: Project) -> None:
    suite = """
        import pytest
        from tests.plugin.doubles import NOTES

        @pytest.fixture(scope="session")
        def client(environment, pytestconfig):
            pytestconfig.stash[NOTES].append(f"client of {environment.system}")
    """
    for system in ("shop", "bank"):
        project.write({f"suites/{system}/conftest.py": suite})
        for number in (1, 2):
            project.write({f"suites/{system}/test_{system}_{number}.py": "def test_it(client): pass"})
    project.run().assert_outcomes(passed=4)
    assert [call for call in project.driver.calls if "client" in call] == ["client of bank", "client of shop"]


def test_project_below_pytests_root(project: Project) -> None:
    project.write({"suites/shop/test_1.py": _OF.format("shop"), "top/suites/shop/test_2.py": _OF.format("shop")})
    for name in ("Pulumi.yaml", "systems.py", "pyproject.toml"):
        (project.folder / "top" / name).write_text((project.folder / name).read_text())
    (project.folder / "Pulumi.yaml").unlink()
    project.run("top").assert_outcomes(passed=1)


def test_innermost_suite_counts(project: Project) -> None:
    project.write({"systems.py": SYSTEMS.replace("suites/bank", "suites/shop/bank")})
    project.write({"suites/shop/test_1.py": _OF.format("shop"), "suites/shop/bank/test_2.py": _OF.format("bank")})
    project.run().assert_outcomes(passed=2)


def test_no_name_of_a_test_changes(project: Project) -> None:
    project.write({"suites/shop/test_1.py": _OF.format("shop"), "suites/bank/test_2.py": _OF.format("bank")})
    result = project.run("-v")
    result.stdout.fnmatch_lines(["*test_1.py::test_shop *"])
    result.stdout.no_fnmatch_line("*test_shop[[]*")


@pytest.mark.parametrize(
    ("test", "message"),
    [
        (
            "def test_it(environment): pass",
            "no system for this test: *mark it @pytest.mark.environment(NAME); known: shop, bank",
        ),
        ("def test_it(environment_factory): environment_factory()", "no system for this test: *known: shop, bank"),
        (
            "import pytest\n@pytest.mark.environment('shpo')\ndef test_it(environment): pass",
            "unknown system 'shpo': did you mean 'shop'? known: bank, shop",
        ),
        (
            "import pytest\n@pytest.mark.environment\ndef test_it(environment): pass",
            "*test_it.py*: the marker takes a system: @pytest.mark.environment(NAME)",
        ),
    ],
    ids=["none", "none for a factory", "unknown", "unnamed"],
)
def test_test_without_a_system_is_one_clear_error(project: Project, test: str, message: str) -> None:
    project.write({"unit/test_it.py": test})
    _fails_with(project, message)


def test_project_that_is_none(project: Project) -> None:
    (project.folder / "Pulumi.yaml").unlink()
    project.write({"unit/test_it.py": "def test_it(environment): pass"})
    _fails_with(project, "no ephemera project in * or above it: *")


@pytest.mark.parametrize("fixture", ["environment", "environment_factory"])
def test_catalog_that_cannot_be_imported(project: Project, fixture: str) -> None:
    project.write({"systems.py": "import gone_away", "suites/shop/test_it.py": f"def test_it({fixture}): {fixture}()"})
    _fails_with(project, "'systems:SYSTEMS' cannot be imported: *No module named 'gone_away'*")


def test_unit_tests_run_without_a_project(project: Project) -> None:
    (project.folder / "Pulumi.yaml").unlink()
    project.write({"unit/test_it.py": "def test_it(): pass"})
    project.run().assert_outcomes(passed=1)


def test_run_from_another_folder(
    project: Project, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    project.write({"suites/shop/test_1.py": _OF.format("shop")})
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    project.run(str(project.folder / "suites" / "shop")).assert_outcomes(passed=1)
    project.run(f"{project.folder}/suites/shop/test_1.py::test_shop").assert_outcomes(passed=1)


def test_environments_of_other_people_are_left_alone(project: Project) -> None:
    project.write(
        {
            "suites/shop/test_theirs.py": """
                import pytest

                @pytest.fixture
                def environment(request):
                    assert not hasattr(request, "param")
                    return "theirs"

                def test_fixture(environment): assert environment == "theirs"

                @pytest.mark.parametrize("environment", ["dev", "prod"])
                def test_parameter(environment): assert environment in ("dev", "prod")
            """
        }
    )
    project.run().assert_outcomes(passed=3)
    assert project.driver.calls == []


def test_fixture_over_ours_gets_ours(project: Project) -> None:
    project.write(
        {
            "conftest.py": """
                import pytest

                @pytest.fixture(scope="session")
                def environment(environment):
                    return f"{environment.system} and more"
            """,
            "suites/shop/test_1.py": "def test_it(environment): assert environment == 'shop and more'",
            "suites/bank/test_2.py": "def test_it(environment): assert environment == 'bank and more'",
        }
    )
    project.run().assert_outcomes(passed=2)


_MODULE = """
def test_first(module_environment_factory): module_environment_factory()
def test_shared(environment): pass
def test_last(module_environment_factory): pass
"""


def test_no_test_is_pulled_out_of_its_module(project: Project) -> None:
    project.write(
        {"suites/shop/test_1.py": _MODULE, "suites/bank/test_2.py": _MODULE, "suites/shop/test_3.py": _MODULE}
    )
    project.run("suites/shop/test_1.py", "suites/bank", "suites/shop/test_3.py").assert_outcomes(passed=9)
    assert project.driver.calls == [
        "test_first: up shop",
        "test_shared: up shop",
        "test_last: down shop",
        "test_first: up bank",
        "test_shared: up bank",
        "test_last: down bank",
        "test_first: up shop",
        "test_last: down shop",
        "end: down shop",
        "end: down bank",
    ]


def _fails_with(project: Project, message: str) -> None:
    result = project.run()
    assert result.ret != 0
    ((line,),) = explanations(result)
    assert fnmatch(line, message)
    assert project.driver.calls == []
