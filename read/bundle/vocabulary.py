"""The words that a text encoder has learned from, where it was trained here and not on the public's texts."""

import re
from collections.abc import Collection, Iterable

_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)?")


def words_of(texts: Iterable[str]) -> list[str]:
    """All words of some texts, in lower case, in order, each once."""
    return sorted({word for text in texts for word in _words(text)})


def unknown_words(text: str, known: Collection[str] | None) -> list[str]:
    """The words of a text that are not known, as they stand there; none where it is not recorded what is known."""
    if known is None:
        return []
    return list(dict.fromkeys(word for word in _WORD.findall(text) if word.lower() not in known))


def _words(text: str) -> list[str]:
    return [word.lower() for word in _WORD.findall(text)]
