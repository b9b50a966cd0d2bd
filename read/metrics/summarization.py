"""Summaries scored as on How2: ROUGE in its named variants, BLEU, CIDEr-D, METEOR and Content F1.

Sources: Lin 2004 (ROUGE), Papineni et al. 2002 (BLEU), Vedantam et al. 2015 (CIDEr-D), and the evaluators that the
tables of How2 come from: nlg-eval with the COCO captioning code, and that of VG-GPLMs (Yu et al. 2021).
Legend: N pairs of a prediction and its one reference, n the order of n-grams. Scores in percent, except CIDEr-D.
"""

import math
from collections import Counter
from collections.abc import Sequence
from functools import partial
from statistics import fmean
from types import SimpleNamespace
from typing import Any

from read.errors import InputError, optional_imports
from read.metrics.meteor import PORTER, WordAlignment, load_alignments, scores_of
from read.metrics.rows import field
from read.metrics.words import words_of

with optional_imports():
    from rouge_score.rouge_scorer import RougeScorer
    from rouge_score.tokenize import tokenize
    from sacrebleu.metrics.bleu import BLEU

__all__ = ["bleu", "cider_d", "evaluate", "load_alignments", "rouge"]

ORDERS = (1, 2, 3, 4)
WORDS = {
    "whitespace": words_of,
    "rouge_score": partial(tokenize, stemmer=None),
    "rouge_score-stem": partial(tokenize, stemmer=PORTER),
}
ROUGES = {"rouge1": "ROUGE-1", "rouge2": "ROUGE-2", "rougeL": "ROUGE-L"}
COCO_BETA = 1.2  # recall weighs so much more than precision in the COCO code's ROUGE-L
CIDER_SIGMA = 6.0  # of the Gaussian over the difference of lengths, in words
CIDER_SCALE = 10.0  # a prediction equal to its reference has 10


def evaluate(
    predictions: Sequence[Any], references: Sequence[Any], alignments: Sequence[WordAlignment] | None = None
) -> dict[str, float]:
    """Score summaries against references.

    Args:
        predictions: texts; or rows with `vid` and `summary`, in any order.
        references: one text per prediction, in its order; or rows (or objects) with the same vids.
        alignments: of these very texts by METEOR 1.5 (`load_alignments`), in any order.

    Returns:
        Unrounded, by name; the name says the variant, and numbers of different variants do not compare:

        * `ROUGE-{1,2,L}-whitespace`: mean F1 per pair, words as the spaces part them (VG-GPLMs); Han and other
          scripts without spaces, which that evaluator does not know, by character, as for BLEU and CIDEr-D.
        * `ROUGE-{1,2,L}-rouge_score` and `ROUGE-{1,2,L}-rouge_score-stem`: of that library, the latter with stems. It
          knows the letters a to z and digits only: in Chinese, Arabic or Russian equal texts have 0.
        * `ROUGE-L-coco`: ROUGE-L of nlg-eval and the How2 baselines (`rouge`).
        * `BLEU-1` to `BLEU-4`: of the corpus, as nlg-eval (`bleu`).
        * `CIDEr-D`: 0 to 10, as nlg-eval (`cider_d`).
        * `METEOR-2007-exact-stem`, `ContentF1-exact-stem`, `ContentF1-VG-GPLMs-exact-stem`: computed without METEOR
          1.5 (`read.metrics.meteor`); the last one lies 1.3 to 1.6 below `ContentF1-VG-GPLMs` on outputs for How2.
        * with `alignments`: `ContentF1-VG-GPLMs`, the published Content F1, which can pass 100, and `METEOR-1.5-mean`,
          the mean over pairs. (Published METEOR pools counts over all pairs instead, and is 3 to 4 lower.)

    Raises:
        InputError: naming the pair by its number or vid: numbers of texts differ, a vid is missing, unknown or twice,
            something is no text, a reference has no word, `alignments` lack a pair. An empty prediction scores 0.
    """
    names, sources, targets = _paired(predictions, references)
    return {
        **rouge(sources, targets),
        **bleu(sources, targets),
        "CIDEr-D": cider_d(sources, targets),
        **scores_of(sources, targets, names, alignments),
    }


def rouge(predictions: Sequence[str], references: Sequence[str]) -> dict[str, float]:
    """ROUGE-1, -2 and -L as F1 of a pair, mean over pairs, by three ways to part words; and `ROUGE-L-coco`.

    A text is one sentence (no summary-level ROUGE-L). `rouge_score` drops all but English letters and digits, makes
    upper case lower and, with stems, takes the Porter stem of words of 4 and more letters. `ROUGE-L-coco` parts words
    by spaces and is (1 + b^2) P R / (R + b^2 P), b = 1.2; several spaces part two words as one does (the COCO code
    finds empty words there). A pair in which a text has no n-gram scores 0.
    """
    scores: dict[str, float] = {}
    for variant, words in WORDS.items():
        scorer = RougeScorer(list(ROUGES), tokenizer=SimpleNamespace(tokenize=words))
        pairs = [scorer.score(target, source) for source, target in zip(predictions, references, strict=True)]
        scores |= {f"{ROUGES[key]}-{variant}": 100 * fmean(pair[key].fmeasure for pair in pairs) for key in ROUGES}
        if variant == "whitespace":
            scores["ROUGE-L-coco"] = 100 * fmean(_coco_f(pair["rougeL"]) for pair in pairs)
    return scores


def bleu(predictions: Sequence[str], references: Sequence[str]) -> dict[str, float]:
    """BLEU-1 to BLEU-4 of the corpus: words parted by spaces, no smoothing, the references' length (sacrebleu).

    BLEU-n is the geometric mean of the precisions of orders 1 to n, times the brevity penalty. With one reference a
    pair, its length is the closest one, so this is what nlg-eval and the COCO code call Bleu_n.
    """
    texts = [[" ".join(words_of(text)) for text in side] for side in (predictions, references)]
    corpus = BLEU(tokenize="none", smooth_method="none", force=True).corpus_score(texts[0], texts[1:])
    return {
        f"BLEU-{n}": BLEU.compute_bleu(
            corpus.counts[:n], corpus.totals[:n], corpus.sys_len, corpus.ref_len, max_ngram_order=n
        ).score
        for n in ORDERS
    }


def cider_d(predictions: Sequence[str], references: Sequence[str]) -> float:
    """CIDEr-D (Vedantam et al. 2015, section 5), the CIDEr of nlg-eval and the COCO code: from 0 to 10.

    Vectors of n-gram counts times log(N / number of references with the n-gram), n = 1 to 4, words parted by spaces
    and not stemmed; cosine with the prediction's weights clipped to the reference's, times a Gaussian of the
    difference of lengths; mean over n and pairs, times 10. What is in every reference weighs nothing, so that a
    single pair scores 0. Captioning tables give it times 100.
    """
    bags = [_bags(text) for text in references]
    frequency = Counter(gram for bag in bags for counts in bag for gram in counts)

    def weights(counts: Counter) -> dict[tuple[str, ...], float]:
        return {gram: count * math.log(len(bags) / max(1, frequency[gram])) for gram, count in counts.items()}

    scores = []
    for source, target, bag in zip(predictions, references, bags, strict=True):
        cosines = [_clipped_cosine(weights(one), weights(other)) for one, other in zip(_bags(source), bag, strict=True)]
        gap = len(words_of(source)) - len(words_of(target))
        scores.append(fmean(cosines) * math.exp(-(gap**2) / (2 * CIDER_SIGMA**2)))
    return CIDER_SCALE * fmean(scores)


def _coco_f(score: Any) -> float:
    """F of a pair's ROUGE-L precision and recall with the COCO code's weight."""
    if not score.fmeasure:
        return 0.0
    return (1 + COCO_BETA**2) * score.precision * score.recall / (score.recall + COCO_BETA**2 * score.precision)


def _bags(text: str) -> list[Counter]:
    """How often each n-gram stands in a text, for n = 1 to 4."""
    words = words_of(text)
    return [Counter(zip(*(words[start:] for start in range(n)), strict=False)) for n in ORDERS]


def _clipped_cosine(source: dict[Any, float], target: dict[Any, float]) -> float:
    norms = math.hypot(*source.values()) * math.hypot(*target.values())
    if not norms:
        return 0.0
    return math.fsum(min(source[gram], target[gram]) * target[gram] for gram in source.keys() & target.keys()) / norms


def _paired(predictions: Sequence[Any], references: Sequence[Any]) -> tuple[list[str], list[str], list[str]]:
    """What to call each pair in a message, and the texts of both sides in the order of the predictions."""
    for side, items in (("predictions", predictions), ("references", references)):
        if isinstance(items, str):
            raise InputError(f"{side}: a list of texts or of rows is due, not one text")
    predictions, references = list(predictions), list(references)
    if any(field(item, "vid") is not None for item in (*predictions, *references)):
        by_vid, targets = _by_vid(predictions, "prediction"), _by_vid(references, "reference")
        _check_vids(by_vid, targets)
        names = [f"vid {vid}" for vid in by_vid]
        pairs = [(text, targets[vid]) for vid, text in by_vid.items()]
    else:
        if len(predictions) != len(references):
            raise InputError(f"{len(predictions)} predictions for {len(references)} references; as many are due")
        names = [f"pair {number}" for number in range(1, len(predictions) + 1)]
        pairs = list(zip(predictions, references, strict=True))
    if not pairs:
        raise InputError("no predictions and no references: nothing to evaluate")
    for name, texts in zip(names, pairs, strict=True):
        for side, text in zip(("prediction", "reference"), texts, strict=True):
            if not isinstance(text, str):
                raise InputError(f"{name}: the {side} is {type(text).__name__}, not a text")
        if not texts[1].split():
            raise InputError(f"{name}: the reference is empty")
    return names, *map(list, zip(*pairs, strict=True))


def _by_vid(rows: Sequence[Any], side: str) -> dict[Any, Any]:
    """Summaries by vid, in the order of the rows."""
    texts: dict[Any, Any] = {}
    for number, row in enumerate(rows, start=1):
        vid = field(row, "vid")
        if not isinstance(vid, int | str):
            raise InputError(f"{side} {number}: lacks a vid, which other rows have")
        if vid in texts:
            raise InputError(f"{side} {number}: vid {vid} stands twice among the {side}s")
        texts[vid] = field(row, "summary")
    return texts


def _check_vids(predictions: dict[Any, Any], references: dict[Any, Any]) -> None:
    unknown = [vid for vid in predictions if vid not in references]
    if unknown:
        raise InputError(f"prediction of vid {unknown[0]}: not among the references ({len(unknown)} such in all)")
    missing = [vid for vid in references if vid not in predictions]
    if missing:
        raise InputError(f"no prediction for vid {', '.join(map(str, missing[:5]))} ({len(missing)} missing in all)")
