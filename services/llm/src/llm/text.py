"""Text as the double sees it: tokens that are counted and streamed, words and stems that are compared."""

import re
import unicodedata

_TOKEN = re.compile(r"\s*(?:[^\W\d_]+|\d+|[^\w\s]|_)|\s+")
_WORD = re.compile(r"[^\W_]{1,64}")  # what is longer is no word, and would cost time
_ENDING = re.compile(r"(?<=...)(?:ings?|ers?|ed|es|e|s)$")
_STOP_WORDS = frozenset(
    re.findall(
        r"\w+",
        "a about an and any are as at be by can could do does for from had has have how i if in into is it its me my no"
        " not of on or our please should so tell than that the their them then there these they this to us was we were"
        " what when where which who why will with would you your",
    )
)


def tokens(text: str) -> list[str]:
    """Words, numbers and signs, each with the space before it: joined they are `text` again."""
    return _TOKEN.findall(text)


def words(text: str) -> list[str]:
    """The words that carry meaning, in lower case and in order; all of them when none does."""
    found = _WORD.findall(unicodedata.normalize("NFKC", text).casefold())
    return [word for word in found if word not in _STOP_WORDS] or found


def stems(text: str) -> frozenset[str]:
    """Words without the endings that grammar gives them: route, router and routing are one."""
    return frozenset(map(_stem, words(text)))


def quote(text: str, limit: int = 300) -> str:
    """`text` on one line, and not longer than `limit`."""
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def _stem(word: str) -> str:
    while (shorter := _ENDING.sub("", word)) != word:
        word = shorter
    return word
