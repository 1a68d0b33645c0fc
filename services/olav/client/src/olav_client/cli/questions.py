"""``olav ask`` and ``olav stream``, on a server or in this process."""

from __future__ import annotations

from typing import Annotated

import typer

from olav_client.cli.session import Session, cli
from olav_client.local import Local
from olav_client.models import Answer, Final, Token

_Question = Annotated[str, typer.Argument(help="What to ask", metavar="QUESTION")]
_Thread = Annotated[
    str | None,
    typer.Option("--thread", help="Go on with this conversation; without it a new one begins", metavar="ID"),
]


@cli.command("ask")
def _ask(session: Session, question: _Question, thread: _Thread = None) -> None:
    """Ask, and show the whole answer."""
    if session.url is None:
        answer = Local().ask(question, thread_id=thread)
    else:
        with session.remote() as remote:
            answer = remote.ask(question, thread_id=thread)

    def text() -> None:
        print(answer.answer)
        _sources(answer)

    session.show(answer, text)


@cli.command("stream")
def _stream(session: Session, question: _Question, thread: _Thread = None) -> None:
    """Ask, and show the answer as it comes; with --output json one event a line."""

    def show(event: Token | Final) -> None:
        if session.output == "json":
            print(event.model_dump_json(), flush=True)
        elif isinstance(event, Token):
            print(event.content, end="", flush=True)
        else:
            print()
            _sources(event.output)

    if session.url is None:
        Local().stream(question, show, thread_id=thread)
        return
    with session.remote() as remote:
        for event in remote.stream(question, thread_id=thread):
            show(event)


def _sources(answer: Answer) -> None:
    if answer.documents:
        print(f"\nsources: {', '.join(f'{source.title} ({source.score:.2f})' for source in answer.documents)}")
    print(f"thread: {answer.thread_id} (turn {answer.turn})")
