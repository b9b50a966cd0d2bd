"""Words of a summary aligned with words of its reference: METEOR, and the Content F1 of How2.

Sources: Lavie and Agarwal 2007 (METEOR), Denkowski and Lavie 2014 (METEOR 1.5), Palaskar et al. 2019 (Content F1),
Yu et al. 2021 (VG-GPLMs, whose public evaluator computes Content F1 in a way of its own).
METEOR 1.5 is a Java program with tables of synonyms and paraphrases. What is computed here aligns equal words, then
equal stems, and carries `exact-stem` in its name; the program's own alignments can be read (`load_alignments`).
Legend: H words of the prediction, R words of the reference, K aligned spans. Scores in percent.
"""

import gzip
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from statistics import fmean
from types import SimpleNamespace

from read.errors import InputError, optional_imports
from read.metrics.words import words_of

with optional_imports():
    from nltk.stem.porter import PorterStemmer
    from nltk.translate.meteor_score import align_words, single_meteor_score

# Words that nearly every summary of How2 has, as published
CATCHPHRASE = frozenset(
    {"in", "a", "this", "to", "free", "the", "video", "and", "learn", "from", "on", "with", "how", "tips", "for"}
    | {"of", "expert", "an"}
)
PORTER = SimpleNamespace(stem=lru_cache(maxsize=2**16)(PorterStemmer().stem))  # a word's stem costs 30 us
NO_SYNONYMS = SimpleNamespace(synsets=lambda word: ())  # in place of WordNet, which would be a download

Span = tuple[int, int, int, int]


@dataclass(frozen=True)
class WordAlignment:
    """A prediction and its reference, aligned.

    prediction H words; reference R words; spans K times (start in the reference, its length, start in the prediction,
    its length), counted in words; score METEOR of the pair, 0 to 1, or None where METEOR 1.5 was not run.
    """

    prediction: tuple[str, ...]
    reference: tuple[str, ...]
    spans: tuple[Span, ...]
    score: float | None = None


def load_alignments(path: str | Path) -> list[WordAlignment]:
    """Read what METEOR 1.5 wrote with `-writeAlignments` (without `-norm`, which changes the words); `.gz` or plain.

    Raises:
        InputError: naming the file and the number of the alignment that is malformed; or the file is absent or empty.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file of alignments")
    with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as file:
        blocks = re.split(r"^Alignment\t", file.read(), flags=re.MULTILINE)[1:]
    if not blocks:
        raise InputError(f"{path}: holds no alignment in the form of METEOR 1.5's -writeAlignments")
    return [_parse(block, f"{path}: alignment {number}") for number, block in enumerate(blocks, start=1)]


def _parse(block: str, where: str) -> WordAlignment:
    """An alignment from its block: numbers with the score last, both texts, a line of column names, a span a line."""
    try:
        numbers, prediction, reference, _, *lines = block.rstrip("\n").split("\n")
        score = float(numbers.split("\t")[-1])
        cells = [line.split()[:2] for line in lines]
        spans = tuple((*map(int, target.split(":")), *map(int, source.split(":"))) for target, source in cells)
        alignment = WordAlignment(tuple(prediction.split()), tuple(reference.split()), spans, score)
        inside = all(
            0 <= start < start + length <= len(alignment.reference)
            and 0 <= other < other + width <= len(alignment.prediction)
            for start, length, other, width in spans
        )
    except ValueError:
        raise InputError(f"{where}: not in the form of METEOR 1.5's -writeAlignments") from None
    if not inside or not 0 <= score <= 1:
        raise InputError(f"{where}: a span outside its text, or a score {score} that is not from 0 to 1")
    return alignment


def align(prediction: str, reference: str) -> WordAlignment:
    """Equal words aligned one to one, then equal Porter stems among the rest; upper case made lower."""
    source, target = words_of(prediction.lower()), words_of(reference.lower())
    pairs, _, _ = align_words(source, target, stemmer=PORTER, wordnet=NO_SYNONYMS)
    return WordAlignment(tuple(source), tuple(target), tuple((theirs, 1, ours, 1) for ours, theirs in pairs))


def meteor_2007(predictions: Sequence[str], references: Sequence[str]) -> float:
    """METEOR of Lavie and Agarwal 2007 by nltk without WordNet: equal words and stems only. Mean over the pairs.

    F = PR / (.9 P + .1 R), times 1 - .5 (chunks / matches)^3. No number to set beside METEOR 1.5, which weighs function
    words less and punishes fragments more: outputs published for How2 that have 30 to 34 there have 60 to 66 here.
    """
    pairs = zip(predictions, references, strict=True)
    return 100 * fmean(
        single_meteor_score(words_of(target), words_of(source), stemmer=PORTER, wordnet=NO_SYNONYMS)
        for source, target in pairs
    )


def content_f1(alignments: Sequence[WordAlignment]) -> float:
    """F1 of content words (Palaskar et al. 2019): what is left without `CATCHPHRASE`. Mean over the pairs.

    Precision is the share of the prediction's content words that are aligned, recall that of the reference's. A pair
    without an aligned content word counts 0.
    """
    return 100 * fmean(_content_f1(alignment) for alignment in alignments)


def content_f1_vg_gplms(alignments: Sequence[WordAlignment]) -> float:
    """Content F1 as VG-GPLMs computes and publishes it. Mean over the pairs; no share, and it passes 100.

    A span whose reference side is one word of `CATCHPHRASE` is left out, and its two words are struck from the
    texts wherever they stand; unaligned ones stay. The other spans count every word, the texts each different word
    once: a word said twice and aligned twice is worth 2 / 1. The references against themselves score 119.6 on How2.
    """
    return 100 * fmean(_content_f1_vg_gplms(alignment) for alignment in alignments)


def _content_f1(alignment: WordAlignment) -> float:
    target = [word.lower() not in CATCHPHRASE for word in alignment.reference]
    source = [word.lower() not in CATCHPHRASE for word in alignment.prediction]
    found_target = sum(sum(target[start : start + length]) for start, length, _, _ in alignment.spans)
    found_source = sum(sum(source[start : start + length]) for _, _, start, length in alignment.spans)
    return _harmonic(found_target, sum(target), found_source, sum(source))


def _content_f1_vg_gplms(alignment: WordAlignment) -> float:
    source, target = set(alignment.prediction), set(alignment.reference)
    found_source = found_target = 0
    for start, length, other, width in alignment.spans:
        if length == 1 and alignment.reference[start] in CATCHPHRASE:
            target.discard(alignment.reference[start])
            source.discard(alignment.prediction[other])
        else:
            found_target += length
            found_source += width
    return _harmonic(found_target, len(target), found_source, len(source))


def _harmonic(found: int, among: int, other_found: int, other_among: int) -> float:
    """Harmonic mean of two ratios, 0 where one of them is 0 or has nothing below the line."""
    if not (found and among and other_found and other_among):
        return 0.0
    return 2 / (among / found + other_among / other_found)


def scores_of(
    predictions: Sequence[str],
    references: Sequence[str],
    names: Sequence[str],
    alignments: Sequence[WordAlignment] | None,
) -> dict[str, float]:
    """METEOR and Content F1 of paired texts; METEOR 1.5's where its alignments are given.

    Raises:
        InputError: naming the pair that `alignments` lack.
    """
    own = [align(source, target) for source, target in zip(predictions, references, strict=True)]
    scores = {
        "METEOR-2007-exact-stem": meteor_2007(predictions, references),
        "ContentF1-exact-stem": content_f1(own),
        "ContentF1-VG-GPLMs-exact-stem": content_f1_vg_gplms(own),
    }
    if alignments is None:
        return scores
    by_texts = {(alignment.prediction, alignment.reference): alignment for alignment in alignments}
    given = []
    for name, *texts in zip(names, predictions, references, strict=True):
        alignment = by_texts.get(tuple(tuple(text.split()) for text in texts))
        if alignment is None or alignment.score is None:
            raise InputError(f"{name}: not among the alignments; METEOR 1.5 has to align these very texts")
        given.append(alignment)
    return scores | {
        "METEOR-1.5-mean": 100 * fmean(alignment.score for alignment in given),
        "ContentF1-VG-GPLMs": content_f1_vg_gplms(given),
    }
