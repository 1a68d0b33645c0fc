"""What is read from a Dockerfile, and added to it, before the engine is sent it."""

from __future__ import annotations

import pytest

from ephemera.images.dockerfiles import (
    bases,
    buildkit_only,
    declared_arguments,
    frontend,
    instructions,
    labelled,
    without_frontend,
)

_MARKS = {"ephemera.image": "app", "ephemera.backend": "0123456789ab"}
_LABEL = 'LABEL ephemera.image="app" ephemera.backend="0123456789ab"\n'


def test_every_stage_is_labelled() -> None:
    text = "ARG BASE\nFROM ${BASE} AS build\nRUN echo \\\n  FROM here\n\nfrom build\nCMD x\n"
    assert labelled(text, _MARKS) == (
        f"ARG BASE\nFROM ${{BASE}} AS build\n{_LABEL}RUN echo \\\n  FROM here\n\nfrom build\n{_LABEL}CMD x\n"
    )


@pytest.mark.parametrize(
    "instruction",
    [
        "RUN a && \\\n# why\nFROM nowhere",
        "RUN a && \\\n\n  FROM nowhere",
        "RUN a && \\ \t\nFROM nowhere",
        "RUN <<EOF\nFROM nowhere\nEOF",
        "RUN cat <<-'EOF' > /x && cat <<B\nFROM a\n\tEOF\nFROM b\nB",
        'COPY <<"one.txt" <<two.txt /etc/\nFROM a\none.txt\nFROM b\ntwo.txt',
        "ONBUILD RUN <<EOF\nFROM nowhere\nEOF",
        'RUN echo "\x0cFROM \u2028FROM x"',
        "RUN echo \\\r\nFROM nowhere\r",
    ],
)
def test_what_only_looks_like_a_stage_is_none(instruction: str) -> None:
    text = f"FROM x \\\n  AS y\n{instruction}\nUSER z\n"
    assert labelled(text, _MARKS) == f"FROM x \\\n  AS y\n{_LABEL}{instruction}\nUSER z\n"
    assert [each.keyword for each in instructions(text)][2:] == ["USER"]


def test_shift_operator_opens_no_heredoc() -> None:
    text = "FROM x\nRUN python3 -c 'print(1 <<2)'\nFROM y\n"
    assert labelled(text, _MARKS).count("LABEL") == 2
    assert buildkit_only(text) == ""


def test_escape_directive_is_honoured() -> None:
    text = "# escape=`\nFROM x `\n  AS y\nRUN dir C:\\\nFROM y\n"
    assert [each.keyword for each in instructions(text)] == ["FROM", "RUN", "FROM"]
    below = f"# a comment\n{text}"  # where it is none any more
    assert [each.keyword for each in instructions(below)] == ["FROM", "AS", "RUN"]


def test_byte_order_mark_and_missing_last_newline_do_not_matter() -> None:
    assert labelled("\ufeffFROM x", _MARKS) == f"\ufeffFROM x\n{_LABEL}".removesuffix("\n")


@pytest.mark.parametrize(
    ("line", "needs"),
    [
        ("RUN --mount=type=cache,target=/c x", "`RUN --mount` in line 3"),
        ("run --network=none x", "`RUN --network` in line 3"),
        ("COPY --from=y --chmod=0755 a b", "`COPY --chmod` in line 3"),
        ("COPY --link a b", "`COPY --link` in line 3"),
        ("ADD --checksum=sha256:1 https://x.example/a b", "`ADD --checksum` in line 3"),
        ("ONBUILD COPY --chmod=1 a b", "`COPY --chmod` in line 3"),
        ("RUN <<EOF\nx\nEOF", "the heredoc in line 3"),
        ("COPY <<EOF /x\nx\nEOF", "the heredoc in line 3"),
        ("ARG TARGETARCH", "the platform argument in line 3"),
        ("FROM --platform=$BUILDPLATFORM z", "the platform argument in line 3"),
        ("ARG TARGETARCH=amd64", ""),
        ("FROM --platform=linux/amd64 z", ""),
        ("COPY --from=y --chown=1:1 a b", ""),
        ("RUN x --mount=type=cache", ""),
        ("HEALTHCHECK --interval=1s CMD x", ""),
        ("HEALTHCHECK --start-interval=1s CMD x", "`HEALTHCHECK --start-interval` in line 3"),
        ("# RUN --mount=type=cache x", ""),
    ],
)
def test_what_only_buildkit_understands_is_named_with_its_line(line: str, needs: str) -> None:
    assert buildkit_only(f"ARG A\nFROM x AS y\n{line}\n") == needs


def test_frontend_of_dockers_own_needs_nothing_by_itself() -> None:
    for named in ("docker/dockerfile:1", "docker.io/docker/dockerfile:1.4@sha256:0"):
        text = f"# syntax={named}\nFROM x\n"
        assert (frontend(text), buildkit_only(text)) == (named, "")
    assert buildkit_only("#Syntax = some/frontend\nFROM x\n") == "`# syntax=some/frontend`"
    assert frontend("FROM x\n# syntax=docker/dockerfile:1\n") == ""


def test_without_its_frontend_lines_and_escapes_stay_as_they_were() -> None:
    text = "# syntax=docker/dockerfile:1\n# escape=`\nFROM x `\n AS y\n"
    left = without_frontend(text)
    assert (frontend(left), instructions(left)) == ("", instructions(text))
    assert without_frontend("FROM x\n") == "FROM x\n"


def test_images_that_it_is_made_from_are_known_beforehand() -> None:
    text = (
        "ARG BASE=python:3.12\nARG SUFFIX\nFROM ${BASE}${SUFFIX:-} AS One\nARG BASE=other\n"
        "FROM --platform=linux/arm64 debian AS two\nCOPY --from=one /a /a\nCOPY --from=nginx:1 /b /b\n"
        "COPY --from=0 /c /c\nRUN --mount=type=bind,from=tools,target=/t x\n"
        "FROM scratch AS three\nFROM $UNKNOWN\nFROM ONE\nFROM last\n"
    )
    first = {"python:3.12": None}
    second = {"debian": "linux/arm64", "nginx:1": None, "tools": None}
    assert bases(text, {}, None) == {**first, **second, "last": None}
    assert bases(text, {}, "one") == bases(text, {}, "0") == first
    assert bases(text, {}, "TWO") == {**first, **second}
    assert bases(text, {"BASE": "mine", "SUFFIX": "-slim"}, "one") == {"mine-slim": None}


def test_declared_arguments() -> None:
    text = 'ARG A\nFROM x\n  arg B=1 C="x y"\nRUN <<EOF\nARG D\nEOF\n'
    assert declared_arguments(text) == {"A", "B", "C"}
