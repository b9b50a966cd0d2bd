"""Words of a text, also in scripts that put no spaces between them."""

import re
import unicodedata

# Han, kana, Thai, Lao, Burmese, Khmer: first and last character of their blocks.
UNSPACED = (
    *(("\u3040", "\u30ff"), ("\u31f0", "\u31ff"), ("\u3400", "\u4dbf"), ("\u4e00", "\u9fff"), ("\uf900", "\ufaff")),
    *(("\uff66", "\uff9f"), ("\U00020000", "\U0003ffff"), ("\u0e00", "\u0eff"), ("\u1000", "\u109f")),
    ("\u1780", "\u17ff"),
)
_LETTER = "".join(f"{first}-{last}" for first, last in UNSPACED)
_MARK = "".join(mark for mark in map(chr, range(0x0E00, 0x1800)) if unicodedata.category(mark)[0] == "M")
_UNSPACED = re.compile(f"[{_LETTER}]")
_WORD = re.compile(rf"[{_LETTER}][{_MARK}]*|[^{_LETTER}\s]+")


def words_of(text: str) -> list[str]:
    """The words as spaces part them; in a script without spaces each character, with its marks, is one.

    Texts in other scripts, such as Latin or Arabic, are parted by their spaces and in no other way.
    """
    return _WORD.findall(text) if _UNSPACED.search(text) else text.split()
