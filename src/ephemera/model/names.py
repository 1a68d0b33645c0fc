"""Names of stacks and of what is in them: valid for Pulumi, Docker and DNS, and distinct for distinct branches.

A stack is called ``<system>-<branch slug>``, a test run's adds ``-<six random characters>``; at most 63 characters,
the longest DNS label. A branch that is not its own slug (capitals, slashes, dots, too long …) carries a hash of the
whole branch, so ``feature/a`` and ``feature-a`` are two stacks. Two branches share a name only if one is spelt like the
other's slug, hash and all, so a name that ``ls`` shows is accepted as a branch.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import unicodedata
from collections.abc import Iterable

from ephemera.model.errors import InputError, UnknownNameError

MAX_STACK_LENGTH = 63
_HASH_LENGTH = 8
_SUFFIX_LENGTH = 6
_POOL_MARK = "--"
_MAX_BRANCH_LENGTH = 4096
_SYSTEM = re.compile(r"[a-z][a-z0-9-]{0,23}(?<!-)")
_SERVICE = re.compile(r"[a-z](?:[a-z0-9-]{0,38}[a-z0-9])?")
_STACK = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")


def stack_name(system: str, branch: str, *, suffix: str | None = None) -> str:
    """Return the name of the stack of ``branch`` of ``system``; with ``suffix``, of one test run of it.

    Raises :class:`InputError` for an invalid system name and an empty branch.
    """
    check_system_name(system)
    tail = f"-{suffix}" if suffix else ""
    return f"{system}-{branch_slug(branch, MAX_STACK_LENGTH - len(system) - 1 - len(tail))}{tail}"


def branch_slug(branch: str, length: int = 40) -> str:
    """Return ``branch`` as at most ``length`` (16 or more) lower-case letters, digits and single hyphens."""
    if not branch.strip():
        raise InputError("the branch name is empty", remedy="give one with --branch, or check out a branch")
    if len(branch) > _MAX_BRANCH_LENGTH:
        raise InputError(
            f"the branch name has {len(branch)} characters", remedy=f"at most {_MAX_BRANCH_LENGTH} are accepted"
        )
    plain = unicodedata.normalize("NFKD", branch).encode("ascii", "ignore").decode().lower()
    slug = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")
    if slug == branch and len(slug) <= length:
        return slug
    digest = hashlib.sha256(branch.encode("utf-8", "surrogatepass")).hexdigest()[:_HASH_LENGTH]
    head = slug[: length - _HASH_LENGTH - 1].rstrip("-")
    return f"{head}-{digest}" if head else digest


def pool_stack_name(system: str) -> str:
    """Return a new name for a stack in the pool of ``system``: ``tasker--k3v9qp``.

    No branch's stack has such a name: neither a system's name nor a slug has a hyphen where the two meet.
    """
    check_system_name(system)
    return f"{system}{_POOL_MARK}{random_suffix()}"


def is_pool_stack(stack: str, system: str) -> bool:
    """Return whether that stack of ``system`` was made for its pool, even if it has been claimed since."""
    return stack.startswith(f"{system}{_POOL_MARK}")


def random_suffix() -> str:
    """Return six random characters."""
    alphabet = "abcdefghijklmnopqrstuvwxyz0123456789"
    return "".join(secrets.choice(alphabet) for _ in range(_SUFFIX_LENGTH))


def check_system_name(system: str) -> None:
    """Raise unless ``system`` is a DNS label of at most 24 characters."""
    if not _SYSTEM.fullmatch(system):
        raise InputError(
            f"system name {system!r} is not valid",
            remedy="use 1 to 24 lower-case letters, digits and hyphens, a letter first and no hyphen last",
        )


def check_service_name(service: str) -> None:
    """Raise unless ``service`` is a DNS label of at most 40 characters."""
    if not _SERVICE.fullmatch(service):
        raise InputError(
            f"service name {service!r} is not valid",
            remedy="use a DNS label of at most 40 characters: lower-case letters, digits, -",
        )


def check_stack_name(stack: str) -> None:
    """Raise unless ``stack`` is a DNS label."""
    if not _STACK.fullmatch(stack):
        raise InputError(
            f"stack name {stack!r} is not valid",
            remedy=f"use 1 to {MAX_STACK_LENGTH} lower-case letters, digits and hyphens, no hyphen at its ends",
        )


def split_stack_name(stack: str, systems: Iterable[str]) -> tuple[str, str]:
    """Return system and branch of a stack that was named by hand: the longest system that its name starts with."""
    known = tuple(systems)
    check_stack_name(stack)
    for system in sorted(known, key=len, reverse=True):
        if stack.startswith(f"{system}-"):
            return system, stack[len(system) + 1 :]
    raise UnknownNameError("system in stack name", stack, (f"{system}-<branch>" for system in known))
