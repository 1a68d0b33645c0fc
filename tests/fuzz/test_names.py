"""Names: any branch gives a valid name that is no other branch's, or one clear error.

The rule: two branches of a system share a stack's name only when one of them is spelt like the other's slug
(``feature/a`` is ``feature-a-<hash>``: a branch that is called exactly that is taken for it), or when eight hexadecimal
digits of two hashes are equal.
"""

from __future__ import annotations

import re
from functools import partial

from hypothesis import given
from hypothesis import strategies as st

from ephemera.model.errors import EphemeraError, InputError
from ephemera.model.names import MAX_STACK_LENGTH, branch_slug, check_stack_name, split_stack_name, stack_name
from tests.fuzz.cases import result_or_error, texts, thousand

_DNS_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_SYSTEMS = ("tasker", "ollama-proxy", "s" * 24)
branches = texts | st.text(max_size=5000)


@thousand
@given(branches, st.sampled_from(_SYSTEMS), st.sampled_from([None, "abc123"]))
def test_any_branch_is_a_valid_name_or_one_clear_error(branch: str, system: str, suffix: str | None) -> None:
    found = result_or_error(lambda: stack_name(system, branch, suffix=suffix))
    if isinstance(found, EphemeraError):
        assert isinstance(found, InputError)
        assert not branch.strip() or len(branch) > 4096
        return
    assert _DNS_LABEL.fullmatch(found)
    assert len(found) <= MAX_STACK_LENGTH
    assert "--" not in found.removeprefix(system)
    check_stack_name(found)
    assert split_stack_name(found, _SYSTEMS)[0] == system
    assert stack_name(system, branch, suffix=suffix) == found, "the same branch is the same stack"
    slug = found.removeprefix(f"{system}-")
    assert suffix or stack_name(system, slug) == found, "a slug is its own slug: what `ls` shows can be given back"


@thousand
@given(branches, branches, st.sampled_from(_SYSTEMS))
def test_two_branches_are_two_stacks(one: str, other: str, system: str) -> None:
    names = [result_or_error(partial(stack_name, system, branch)) for branch in (one, other)]
    if any(isinstance(name, EphemeraError) for name in names):
        return
    spelt_alike = f"{system}-{one}" == names[1] or f"{system}-{other}" == names[0]
    assert (names[0] == names[1]) == (one == other or spelt_alike)


@thousand
@given(branches.filter(str.strip), st.sampled_from([str.upper, str.title, str.swapcase, lambda text: f"{text}-"]))
def test_branches_that_differ_in_little_are_two_stacks(branch: str, change: object) -> None:
    changed = change(branch)  # type: ignore[operator]
    if changed != branch and len(changed) <= 4096 and changed.strip():
        assert result_or_error(lambda: branch_slug(branch)) != result_or_error(lambda: branch_slug(changed))


@thousand
@given(texts, texts)
def test_any_system_is_a_valid_name_or_one_clear_error(system: str, branch: str) -> None:
    found = result_or_error(lambda: stack_name(system, branch))
    if not isinstance(found, EphemeraError):
        assert re.fullmatch(r"[a-z]([a-z0-9-]{0,22}[a-z0-9])?", system)
        assert found.startswith(f"{system}-")


@thousand
@given(texts)
def test_any_stack_is_of_a_system_or_one_clear_error(stack: str) -> None:
    found = result_or_error(lambda: split_stack_name(stack, _SYSTEMS))
    if not isinstance(found, EphemeraError):
        assert "-".join(found) == stack
