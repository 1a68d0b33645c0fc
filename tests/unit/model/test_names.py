from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ephemera.model.errors import InputError, UnknownNameError
from ephemera.model.names import (
    MAX_STACK_LENGTH,
    branch_slug,
    check_stack_name,
    check_system_name,
    random_suffix,
    split_stack_name,
    stack_name,
)

_DNS_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_LONG = "feature/ÜBER lang/" + "x" * 182

branches = st.text(max_size=120) | st.text(alphabet="aAüß/.-_0 ", min_size=1, max_size=90)


@pytest.mark.parametrize(
    ("branch", "stack"), [("main", "tasker-main"), ("fix-42", "tasker-fix-42"), ("2024", "tasker-2024")]
)
def test_plain_branch_is_kept_as_it_is(branch: str, stack: str) -> None:
    assert stack_name("tasker", branch) == stack


@pytest.mark.parametrize(
    "branch",
    [_LONG, "feature/a.b", "🚀", "日本語", "UPPER", "a--b", "-a-", "dependabot/npm_and_yarn/x-1.2.3", "a\nb", "\ud800"],
)
def test_any_branch_becomes_a_dns_label(branch: str) -> None:
    stack = stack_name("tasker", branch)
    assert _DNS_LABEL.fullmatch(stack)
    assert "--" not in stack
    check_stack_name(stack)


def test_readable_part_of_a_long_branch_is_kept() -> None:
    stack = stack_name("tasker", _LONG)
    assert len(stack) == MAX_STACK_LENGTH
    assert stack.startswith("tasker-feature-uber-lang-xxx")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("feature/a", "feature-a"),
        ("Main", "main"),
        ("a" * 60 + "b", "a" * 60 + "c"),
        ("x" * 200, "x" * 201),
        ("über", "uber"),
        ("🚀", "🔥"),
        ("a.b", "a_b"),
        ("a", "a "),
    ],
)
def test_distinct_branches_get_distinct_stacks(one: str, other: str) -> None:
    assert stack_name("tasker", one) != stack_name("tasker", other)


@pytest.mark.parametrize("branch", ["", " ", "\t\n", "\u2003"])
def test_empty_branch_is_refused(branch: str) -> None:
    with pytest.raises(InputError, match="branch name is empty"):
        stack_name("tasker", branch)


def test_branch_of_4096_characters_is_the_longest() -> None:
    assert len(stack_name("tasker", "b" * 4096)) == MAX_STACK_LENGTH
    with pytest.raises(InputError, match="4097 characters"):
        stack_name("tasker", "b" * 4097)


@given(branches)
def test_every_text_is_a_valid_slug_or_one_input_error(branch: str) -> None:
    try:
        slug = branch_slug(branch)
    except InputError:
        assert not branch.strip()
        return
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", slug)
    assert len(slug) <= 40
    assert branch_slug(branch) == slug, "it does not change from call to call"
    assert branch_slug(slug) == slug, "a slug is its own slug"


@given(branches.filter(str.strip), branches.filter(str.strip))
def test_two_texts_share_a_slug_only_when_equal(one: str, other: str) -> None:
    assert (branch_slug(one) == branch_slug(other)) == (one == other)


@given(st.integers(min_value=16, max_value=63), st.text(alphabet="ab/", min_size=1, max_size=90))
def test_slug_keeps_to_its_length(length: int, branch: str) -> None:
    assert len(branch_slug(branch, length)) <= length


def test_run_of_tests_adds_its_suffix_within_the_length() -> None:
    assert stack_name("tasker", "main", suffix="abc123") == "tasker-main-abc123"
    longest = stack_name("s" * 24, _LONG, suffix="abc123")
    assert longest.endswith("-abc123")
    assert len(longest) <= MAX_STACK_LENGTH


def test_suffixes_are_six_plain_characters_and_differ() -> None:
    suffixes = {random_suffix() for _ in range(50)}
    assert len(suffixes) == 50
    assert all(re.fullmatch(r"[a-z0-9]{6}", suffix) for suffix in suffixes)


@pytest.mark.parametrize("system", ["a", "ollama-proxy", "n3", "s" * 24])
def test_system_name_of_up_to_24_characters(system: str) -> None:
    check_system_name(system)


@pytest.mark.parametrize("system", ["", "s" * 25, "Tasker", "1st", "-a", "a-", "a_b", "a b", "tasker\n", "é"])
def test_system_name_that_is_no_label_is_refused(system: str) -> None:
    with pytest.raises(InputError, match=re.escape(repr(system))):
        stack_name(system, "main")


@pytest.mark.parametrize("stack", ["", "a" * 64, "-a", "a-", "A", "a_b", "a/b", "../a", "a\n"])
def test_stack_name_that_docker_would_refuse_is_refused(stack: str) -> None:
    with pytest.raises(InputError, match="is not valid"):
        check_stack_name(stack)


def test_stack_named_by_hand_is_of_the_longest_system_it_starts_with() -> None:
    systems = ("tasker", "tasker-lite", "netra")
    assert split_stack_name("tasker-main", systems) == ("tasker", "main")
    assert split_stack_name("tasker-lite-fix-1", systems) == ("tasker-lite", "fix-1")


@pytest.mark.parametrize("stack", ["tasker", "shop-main", "taskermain"])
def test_stack_of_no_known_system_is_refused(stack: str) -> None:
    with pytest.raises(UnknownNameError, match="known: tasker-<branch>"):
        split_stack_name(stack, ("tasker",))
