"""Instructions to answer with a label: which are recognised, and which label is picked."""

import pytest
from llm.labels import find

NAMES = ("network", "documents", "other")


@pytest.mark.parametrize(
    "text",
    [
        "Answer with exactly one of these labels: network, documents, other",
        "Reply with one of: network | documents | other.",
        'Classify the question as one of the following: "network", `documents` or other. Say nothing else.',
        "Answer with one of: network (router, BGP or OSPF), documents (file, page), other",
        "Sort it.\nAnswer with one of these labels:\n- network: router, BGP\n- documents: file\n- other: rest\nGo.",
        "Choose one of:\n1. network\n2. documents - file, page\n3. other",
        "Pick one of these words:\nnetwork\ndocuments\nother\n\nHere is the question.",
    ],
)
def test_labels_are_found(text: str) -> None:
    choice = find(text)
    assert choice is not None
    assert tuple(label.name for label in choice.labels) == NAMES


@pytest.mark.parametrize(
    "text",
    [
        "",
        "The state is one of: Idle, Connect, Active",
        "Answer with one of your jokes.",
        "Answer briefly. The state is one of: Idle, Connect",
        "Answer with one of: yes",
        "Answer with one of: the first thing that comes to your mind when you see a sentence that is no label, ok",
        "Answer with one of these:\n\nnetwork",
    ],
)
def test_what_is_no_instruction_is_none(text: str) -> None:
    assert find(text) is None


@pytest.mark.parametrize(
    ("question", "label"),
    [
        ("Which routers speak BGP?", "network"),
        ("Show me pages about routing", "network"),
        ("Show me the pages of that file on BGP", "documents"),
        ("Good morning", "other"),
        ("the network documents", "network"),
    ],
)
def test_the_label_that_shares_most_words_is_picked(question: str, label: str) -> None:
    choice = find("Answer with one of: network (router, routing, BGP), documents (file, page), other")
    assert choice is not None
    assert choice.pick(question) == label


def test_what_stands_around_the_instruction_is_kept() -> None:
    choice = find("Before.\nAnswer with one of: a, b. After it.\nBelow.")
    assert choice is not None
    assert (choice.before, choice.after) == ("Before.\n", " After it.\nBelow.")
    choice = find("Answer with one of:\n- a\n- b\nBelow: it.")
    assert choice is not None
    assert choice.after == "Below: it."
