"""Scores of summaries: the published numbers of How2, plain loops, worked examples, and what bad input says."""

import gzip
import math
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sacrebleu.metrics import BLEU

from read.errors import InputError
from read.metrics.meteor import WordAlignment, align, content_f1, content_f1_vg_gplms, load_alignments, meteor_2007
from read.metrics.summarization import bleu, cider_d, evaluate, rouge
from read.metrics.words import words_of

examples = settings(max_examples=40, deadline=None, derandomize=True)
words = st.lists(st.sampled_from(["learn", "cats", "cat", "play", "playing", "Video", "how", ".", "''"]), max_size=9)
said = words.filter(bool)
REFERENCES = [
    "learn how to tune a ukulele in this free music lesson video .",
    "a boxer gains speed and accuracy by shadow boxing with heavy bags",
    "perennial gardening needs a colour scheme that fits the soil",
]


@st.composite
def corpora(draw):
    """Predictions, some of them empty, and references, both as lists of words."""
    pairs = draw(st.lists(st.tuples(words, said), min_size=1, max_size=6))
    return [list(side) for side in zip(*pairs, strict=True)]


def texts(side):
    return [" ".join(listed) for listed in side]


def lines(path):
    return path.read_text(encoding="utf-8").splitlines()


PUBLISHED = {
    "Bart_forget_gate_img_TF": {
        "ROUGE-1-whitespace": 67.96, "ROUGE-2-whitespace": 51.40, "ROUGE-L-whitespace": 63.25,
        "ROUGE-1-rouge_score": 66.63, "ROUGE-2-rouge_score": 50.40, "ROUGE-L-rouge_score": 61.85,
        "ROUGE-1-rouge_score-stem": 68.41, "ROUGE-2-rouge_score-stem": 51.45, "ROUGE-L-rouge_score-stem": 63.22,
    },
    "Bart_text_only": {
        "ROUGE-1-whitespace": 64.05, "ROUGE-2-whitespace": 46.39, "ROUGE-L-whitespace": 58.86,
        "BLEU-4": 42.00, "ContentF1-VG-GPLMs": 63.91,
    },
}  # fmt: skip
COCO = {  # computed by pycocoevalcap 1.2 from the same files: Bleu_1-4 and ROUGE_L in percent, CIDEr
    "Bart_forget_gate_img_TF": [65.20458795, 56.27233641, 50.40113155, 45.99577440, 63.00901711759, 3.278030164827],
    "Bart_text_only": [62.42933350, 52.56485185, 46.44792143, 42.00497908, 58.79923077401, 2.971457739201],
}
COCO_NAMES = ["BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4", "ROUGE-L-coco", "CIDEr-D"]


@pytest.mark.parametrize("model", PUBLISHED)
def test_published_predictions_have_their_published_scores(mirror, model):
    file = mirror / "how2" / f"{model}.txt-align.out.gz"
    alignments = load_alignments(file) if file.is_file() else None
    scores = evaluate(lines(mirror / "how2" / f"{model}.txt"), lines(mirror / "how2" / "test.tgt"), alignments)
    published = PUBLISHED[model]
    assert {name: round(scores[name], 2) for name in published} == published
    assert [scores[name] for name in COCO_NAMES] == pytest.approx(COCO[model], rel=1e-8)


def test_the_three_pairs_of_how2_score_what_its_authors_say(mirror):
    demo = [lines(mirror / "how2" / f"demo.test.{side}") for side in ("hypothesis", "reference")]
    assert round(rouge(*demo)["ROUGE-L-coco"], 1) == 31.2


def test_alignments_of_meteor_say_more_than_equal_words_and_stems(mirror):
    alignments = load_alignments(mirror / "how2" / "Bart_text_only.txt-align.out.gz")
    assert len(alignments) == 2127
    own = [align(" ".join(pair.prediction), " ".join(pair.reference)) for pair in alignments]
    covered, all_covered = (sum(span[1] for pair in pairs for span in pair.spans) for pairs in (own, alignments))
    assert 0.95 < covered / all_covered < 1
    assert 1 < content_f1_vg_gplms(alignments) - content_f1_vg_gplms(own) < 2
    assert 0 < content_f1(alignments) - content_f1(own) < 2


def longest_common(one, other):
    table = np.zeros((len(one) + 1, len(other) + 1), int)
    for row, word in enumerate(one):
        for column, twin in enumerate(other):
            grown = table[row, column] + 1 if word == twin else 0
            table[row + 1, column + 1] = max(grown, table[row, column + 1], table[row + 1, column])
    return table[-1, -1]


def grams(listed, n):
    return [tuple(listed[start : start + n]) for start in range(len(listed) - n + 1)]


def shared(one, other):
    rest, found = list(other), 0
    for gram in one:
        if gram in rest:
            rest.remove(gram)
            found += 1
    return found


def f_of(found, total, other_total, beta=1.0):
    if not found:
        return 0.0
    precision, recall = found / total, found / other_total
    return 100 * (1 + beta**2) * precision * recall / (recall + beta**2 * precision)


@examples
@given(corpora())
def test_rouge_is_the_plain_loop(corpus):
    expected = {"ROUGE-1-whitespace": [], "ROUGE-2-whitespace": [], "ROUGE-L-whitespace": [], "ROUGE-L-coco": []}
    for source, target in zip(*corpus, strict=True):
        for n in (1, 2):
            one, other = grams(source, n), grams(target, n)
            expected[f"ROUGE-{n}-whitespace"].append(f_of(shared(one, other), len(one), len(other)))
        common = longest_common(source, target)
        expected["ROUGE-L-whitespace"].append(f_of(common, len(source), len(target)))
        expected["ROUGE-L-coco"].append(f_of(common, len(source), len(target), 1.2))
    scores = rouge(*map(texts, corpus))
    assert {name: scores[name] for name in expected} == pytest.approx({k: np.mean(v) for k, v in expected.items()})


def test_the_variants_of_rouge_part_words_in_their_own_ways():
    scores = rouge(["The cats' games ."], ["the cat games !"])
    assert scores["ROUGE-1-whitespace"] == pytest.approx(25)
    assert scores["ROUGE-1-rouge_score"] == pytest.approx(200 / 3)
    assert scores["ROUGE-1-rouge_score-stem"] == pytest.approx(100)


@examples
@given(corpora())
def test_bleu_is_sacrebleu_and_the_plain_product(corpus):
    sources, targets = map(texts, corpus)
    scores = bleu(sources, targets)
    totals = [sum(len(grams(source, n)) for source in corpus[0]) for n in (1, 2, 3, 4)]
    found = [sum(shared(grams(s, n), grams(t, n)) for s, t in zip(*corpus, strict=True)) for n in (1, 2, 3, 4)]
    length = sum(map(len, corpus[1]))
    for n in (1, 2, 3, 4):
        metric = BLEU(tokenize="none", smooth_method="none", max_ngram_order=n, force=True)
        assert scores[f"BLEU-{n}"] == pytest.approx(metric.corpus_score(sources, [targets]).score, abs=1e-9)
        product = (
            math.prod(hits / total for hits, total in zip(found[:n], totals[:n], strict=True)) if totals[n - 1] else 0
        )
        brevity = math.exp(min(0, 1 - length / totals[0])) if totals[0] else 0
        assert scores[f"BLEU-{n}"] == pytest.approx(100 * brevity * product ** (1 / n), abs=1e-9)


@examples
@given(corpora())
def test_cider_d_is_the_formula_over_all_n_grams(corpus):
    expected = np.zeros(len(corpus[0]))
    for n in (1, 2, 3, 4):
        vocabulary = sorted({gram for side in corpus for listed in side for gram in grams(listed, n)})
        counts = np.array([[[grams(listed, n).count(g) for g in vocabulary] for listed in side] for side in corpus])
        idf = np.log(len(corpus[1]) / np.maximum(1, (counts[1] > 0).sum(axis=0)))
        source, target = counts * idf
        norms = np.linalg.norm(source, axis=-1) * np.linalg.norm(target, axis=-1)
        inner = (np.minimum(source, target) * target).sum(axis=-1)
        gap = np.array([len(one) - len(other) for one, other in zip(*corpus, strict=True)])
        expected += 10 / 4 * np.divide(inner, norms, out=np.zeros(len(gap)), where=norms > 0) * np.exp(-(gap**2) / 72)
    assert cider_d(*map(texts, corpus)) == pytest.approx(expected.mean(), abs=1e-12)


def test_meteor_of_equal_words_and_stems_by_hand():
    assert meteor_2007(["the cats sat"], ["The cat sat"]) == pytest.approx(100 * (1 - 0.5 / 27))
    # 2 of 3 words and 2 of 4, in two chunks: "motor" and "automobile" are strangers without WordNet
    f = (2 / 3) * (1 / 2) / (0.9 * 2 / 3 + 0.1 / 2)
    assert meteor_2007(["boxing motor learned"], ["learn an automobile boxing"]) == pytest.approx(100 * f * 0.5)


def test_content_f1_by_hand():
    pair = align("learn boxing tips from an expert boxer", "learn how to box with a boxer")
    # content: boxing, boxer; box, boxer
    assert content_f1([pair]) == pytest.approx(100)
    # struck: learn; left: boxing tips from an expert boxer; how to box with a boxer
    assert content_f1_vg_gplms([pair]) == pytest.approx(100 * 2 / 6)
    twice = align("guitar and guitar", "guitar and guitar")
    assert content_f1([twice]) == 100 and content_f1_vg_gplms([twice]) == 200  # as published, 2 words of a set of 1
    assert content_f1([align("learn how", "learn how")]) == 0


def test_a_phrase_counts_by_its_words_on_each_side():
    phrase = WordAlignment(("fix", "quickly"), ("in", "no", "time", "mend"), ((0, 3, 1, 1), (3, 1, 0, 1)), 0.5)
    assert content_f1([phrase]) == pytest.approx(100) and content_f1_vg_gplms([phrase]) == pytest.approx(100)


@examples
@given(words, words)
def test_an_alignment_is_one_to_one_and_as_large_as_the_stems_allow(source, target):
    pair = align(" ".join(source), " ".join(target))
    ours, theirs = {span[2] for span in pair.spans}, {span[0] for span in pair.spans}
    assert len(ours) == len(theirs) == len(pair.spans)
    stem = {"cats": "cat", "playing": "play"}
    bags = [Counter(stem.get(word, word) for word in side) for side in (source, target)]
    assert len(pair.spans) == (bags[0] & bags[1]).total()
    assert sum(pair.prediction[s[2]] == pair.reference[s[0]] for s in pair.spans) == shared(source, target)


def test_perfect_predictions_score_100_and_disjoint_ones_0():
    perfect = evaluate(REFERENCES, REFERENCES)
    assert 99.9 < perfect.pop("METEOR-2007-exact-stem") < 100  # one chunk is never no chunk
    assert perfect.pop("CIDEr-D") == pytest.approx(10)
    assert list(perfect.values()) == pytest.approx([100] * len(perfect))  # of VG-GPLMs too: no word is said twice
    disjoint = evaluate(["zebra quilts", "", "xylophone , yacht"], REFERENCES)
    assert set(disjoint.values()) == {0.0}


@examples
@given(corpora(), st.randoms(use_true_random=False))
def test_the_order_of_pairs_is_no_matter_and_rows_are_found_by_vid(corpus, random):
    sources, targets = map(texts, corpus)
    expected = evaluate(sources, targets)
    assert all(value >= 0 and math.isfinite(value) for value in expected.values())
    assert all(value <= 100 + 1e-9 for name, value in expected.items() if "VG" not in name)
    order = random.sample(range(len(sources)), len(sources))
    assert evaluate([sources[i] for i in order], [targets[i] for i in order]) == pytest.approx(expected)
    rows = [{"vid": f"v{i}", "summary": sources[i]} for i in order]
    objects = [SimpleNamespace(vid=f"v{i}", summary=text) for i, text in enumerate(targets)]
    assert evaluate(rows, objects) == pytest.approx(expected)


WRITTEN = """Alignment	1	0.68	0.48	0.48	0.25
the red car
a red automobile drives
Line2Start:Length	Line1Start:Length	Module		Score
0:2			0:2			3		1.0
2:1			2:1			2		1.0

Alignment	2	NaN	0.0	NaN	0.0

some text
Line2Start:Length	Line1Start:Length	Module		Score

"""


def test_alignments_are_read_and_scored(tmp_path):
    plain, packed = tmp_path / "align.out", tmp_path / "align.out.gz"
    plain.write_text(WRITTEN, encoding="utf-8")
    packed.write_bytes(gzip.compress(WRITTEN.encode()))
    alignments = load_alignments(plain)
    assert alignments == load_alignments(packed)
    assert alignments[0].spans == ((0, 2, 0, 2), (2, 1, 2, 1))
    assert alignments[1] == WordAlignment((), ("some", "text"), (), 0.0)
    scores = evaluate(["", "the red car"], ["some text", "a red automobile drives"], alignments)
    assert scores["METEOR-1.5-mean"] == pytest.approx(12.5)
    assert scores["ContentF1-VG-GPLMs"] == pytest.approx(100 / 2 * 6 / 7)
    with pytest.raises(InputError, match="pair 1: not among the alignments"):
        evaluate(["the blue car"], ["a red automobile drives"], alignments)


@pytest.mark.parametrize(
    ("old", "new"), [(WRITTEN, ""), (WRITTEN, "a b"), ("0:2\t", "0-2\t"), ("2:1\t\t\t2", "4:1\t\t\t2"), ("0.25", "NaN")]
)
def test_a_malformed_file_of_alignments_is_named(tmp_path, old, new):
    with pytest.raises(InputError, match=r"align\.out: no such file"):
        load_alignments(tmp_path / "align.out")
    (tmp_path / "align.out").write_text(WRITTEN.replace(old, new), encoding="utf-8")
    with pytest.raises(InputError, match=r"align\.out: (alignment 1: |holds no alignment)"):
        load_alignments(tmp_path / "align.out")


@pytest.mark.parametrize(
    ("predictions", "references", "message"),
    [
        (["a", "b"], ["a"], "2 predictions for 1 references"),
        ([], [], "nothing to evaluate"),
        ("a", ["a"], "predictions: a list of texts"),
        (["a", "b"], ["a", " \n"], "pair 2: the reference is empty"),
        (["a", None], ["a", "b"], "pair 2: the prediction is NoneType, not a text"),
        (["a"], [["a"]], "pair 1: the reference is list, not a text"),
    ],
)
def test_bad_lists_are_told_apart(predictions, references, message):
    with pytest.raises(InputError, match=message):
        evaluate(predictions, references)


@pytest.mark.parametrize(
    ("predictions", "references", "message"),
    [
        ("xy", "x", "prediction of vid y: not among the references"),
        ("x", "xy", r"no prediction for vid y \(1 missing in all\)"),
        ("xyx", "xy", "prediction 3: vid x stands twice among the predictions"),
        ("xy", "xyy", "reference 3: vid y stands twice among the references"),
    ],
)
def test_vids_have_to_match(predictions, references, message):
    with pytest.raises(InputError, match=message):
        evaluate(*([{"vid": vid, "summary": "a"} for vid in side] for side in (predictions, references)))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"summary": "a"}, "prediction 2: lacks a vid"),
        ("a", "prediction 2: lacks a vid"),
        ({"vid": "y"}, "vid y: the prediction is NoneType, not a text"),
    ],
)
def test_a_bad_row_is_named(row, message):
    references = [{"vid": vid, "summary": "a"} for vid in "xy"]
    with pytest.raises(InputError, match=message):
        evaluate([references[0], row], references)
    with pytest.raises(InputError, match="vid y: the reference is empty"):
        evaluate(references, [references[0], {"vid": "y", "summary": ""}])


CHINESE = ["一个人骑着自行车过桥", "狗跳过木头", "河水流过老桥下面"]
ARABIC = ["رجل يركب دراجة فوق الجسر", "كلب يقفز فوق جذع شجرة كبيرة", "النهر يجري تحت الجسر القديم"]


@pytest.mark.parametrize("texts", [CHINESE, ARABIC], ids=["chinese", "arabic"])
def test_texts_in_other_scripts(texts):
    equal = evaluate(texts, texts)
    for name in ("ROUGE-1", "ROUGE-2", "ROUGE-L"):
        assert equal[f"{name}-whitespace"] == pytest.approx(100)
        assert equal[f"{name}-rouge_score"] == 0  # as the docstring and the report say
    assert equal["BLEU-4"] == pytest.approx(100) and equal["CIDEr-D"] == pytest.approx(10)
    assert equal["ContentF1-exact-stem"] == pytest.approx(100)
    other = evaluate([*texts[1:], texts[0]], texts)
    assert other["ROUGE-L-whitespace"] < 50 and other["CIDEr-D"] < 2


def test_chinese_by_characters_agrees_with_a_hand_count():
    scores = evaluate(["一个人过桥"], ["一个人骑车过桥"])  # 5 characters of 7, all in order
    assert scores["ROUGE-1-whitespace"] == scores["ROUGE-L-whitespace"] == pytest.approx(100 * 2 * 5 / (5 + 7))
    assert scores["ROUGE-2-whitespace"] == pytest.approx(100 * 2 * 3 / (4 + 6))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a dog's life,  OK", ["a", "dog's", "life,", "OK"]),
        ("用 GPU 训练。", ["用", "GPU", "训", "练", "。"]),
        ("こんにちは", ["こ", "ん", "に", "ち", "は"]),
        ("น้ำใส", ["น้", "ำ", "ใ", "ส"]),
        ("한국어 문장", ["한국어", "문장"]),
        (ARABIC[0], ARABIC[0].split()),
        ("", []),
    ],
)
def test_words(text, words):
    assert words_of(text) == words
