"""Tell from the output of a run of Pulumi's engine what went wrong, in one line with a remedy."""

from __future__ import annotations

import re
import site
from collections.abc import Iterator, Sequence
from typing import NamedTuple

_ABOUT = re.compile(r"\s*\S*:(?P<kind>\w+) \((?P<name>[^)]+)\):\s*$")
_ERROR = re.compile(r"\berror: +(?P<text>.+)")
# What the provider puts around its message.
_AROUND = re.compile(r"^(?:sdk-v2/\S+: sdk\.\w+: )?(?P<text>.*?)(?:: provider=\w+@\S+)?$")
_REFUSED = re.compile(r"(?:Unable to (?P<what>[\w ]+?): )?Error response from daemon: (?P<why>.+)")
_NOISE = re.compile(r"(?:failed to create shim task: |OCI runtime create failed: |runc create failed: )+|: unknown$")
_FRAME = re.compile(r'\s*File "(?P<file>[^"<]+)", line (?P<line>\d+), in ')
_RAISED = re.compile(r"\s*(?P<text>[\w.]*(?:Error|Exception|Exit|Interrupt|Warning)\b: .+|[\w.]*Error)$")
_SAYS_NOTHING = ("update failed", "destroy failed", "preview failed", "1 error occurred", "an unhandled error occurred")
_OURS = re.compile(r"/(?:site-packages|ephemera/(?:lifecycle|pulumi|resources|warm)|lib/python[\d.]+)/")

_REMEDIES = (
    (r"port is already allocated|address already in use", "free that port, or use `expose: loopback`"),
    (r"No such image|manifest (?:unknown|for)|pull access denied|repository does not exist", "check the image's name"),
    (r"already in use by container|already exists", "remove the object of that name, or choose another --branch"),
    (r"no space left on device", "free disk space: `ephemera images prune` drops images that no container uses"),
    (r"unable to find (?:user|group)|no matching entries in", "give `user` as a number, or a user of the image"),
    (r"executable file not found|exec: .*no such file", "correct `command`: its first word is a program of the image"),
    (r"exec: .*permission denied", "correct `command`: its first word is a program that `user` may run"),
    (r"[Mm]inimum memory limit|Range of CPUs|memory (?:limit|reservation)", "correct `memory_mb` or `cpus`"),
    (r"[Cc]apabilit", "correct `capabilities`"),
    (r"[Mm]ount|tmpfs", "correct `volumes` and `tmpfs`"),
    (r"[Pp]ool overlaps|no available.*pool", "remove unused Docker networks, or set `ephemera:subnet_pool`"),
    (r"Cannot connect to the Docker daemon|connection refused", "start Docker, or set DOCKER_HOST"),
    (r"incorrect passphrase", "the stack has another passphrase than ephemera's: run `ephemera up`, which changes it"),
    (r"passphrase must be set", "restore the passphrase file of the state directory"),
    (r"currently locked", "wait until the other run of Pulumi has ended"),
)  # fmt: skip
_IN_THE_PROGRAM = "fix the program"
_OTHERWISE = "Pulumi's whole output is in the evidence, and in --output json"


class Diagnosis(NamedTuple):
    """``cause``: what went wrong, to which resource. ``remedy``: what to do about it."""

    cause: str
    remedy: str


def diagnose(output: Sequence[str]) -> Diagnosis:
    """Return the first cause that ``output`` names, else its last line."""
    last = next((line.strip() for line in reversed(output) if line.strip()), "Pulumi printed nothing")
    kind, name, text = next(_errors(output), ("", "", last))
    if name and (refused := _REFUSED.search(text)):
        what = refused["what"] or f"make {kind.lower()}"
        why = _NOISE.sub("", refused["why"]).strip()
        return Diagnosis(f"cannot {what} {name!r}: {why}", _remedy(why))
    if raised := _raised(output):
        return Diagnosis(raised, _IN_THE_PROGRAM)
    about = f"{kind.lower()} {name!r}: " if kind and kind != "Stack" else ""
    return Diagnosis(about + text, _remedy(text))


def _errors(output: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    """Yield kind and name of the resource and the text of each error, last those of the stack, which only sum up."""
    start = next((at for at, line in enumerate(output) if line.strip() == "Diagnostics:"), 0)
    found: list[tuple[str, str, str]] = []
    kind = name = ""
    for line in output[start:]:
        if about := _ABOUT.match(line):
            kind, name = about["kind"], about["name"]
        elif error := _ERROR.search(line):
            around = _AROUND.match(error["text"].strip())
            text = around["text"] if around else error["text"]
            if not text.startswith(_SAYS_NOTHING) or "runtime error: " in text:
                found.append((kind, name, text.rpartition("runtime error: ")[2]))
    yield from sorted(found, key=lambda each: each[0] == "Stack")


def _raised(output: Sequence[str]) -> str:
    """Return what the program raised, and where in it."""
    where = ""
    for line in output:
        frame = _FRAME.match(line)
        if frame and not _OURS.search(frame["file"]) and not frame["file"].startswith(tuple(site.getsitepackages())):
            where = f"{frame['file']}:{frame['line']}: "
        raised = _RAISED.match(line)
        if raised and where:
            return where + raised["text"].strip()
    return ""


def _remedy(text: str) -> str:
    return next((remedy for pattern, remedy in _REMEDIES if re.search(pattern, text)), _OTHERWISE)
