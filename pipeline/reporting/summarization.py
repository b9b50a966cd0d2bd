"""Summarization on the page: its words, its columns, and videos with their summaries and what words attended to."""

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.reporting.inputs import Results
from pipeline.reporting.showcase import AttentionMaps, make_showcase
from pipeline.reporting.task import ReportedTask
from read.data.lengths import Length
from read.data.summaries import Summary, load_summaries, with_heard
from read.errors import InputError
from read.metrics.words import words_of

LEVELS = 255  # of attention, between 0 and the video's highest: a byte a clip keeps the page small


def load(raw: Path, clip_len: float, lengths: Mapping[str, Length], heard: Path | None) -> list[Summary]:
    """The summaries of a dataset, with what was heard; they have no clips and no times."""
    summaries = load_summaries(raw / "summaries.jsonl")
    return with_heard(summaries, heard) if heard else summaries


def showcase(results: Results) -> dict[str, Any]:
    """Videos with transcript, reference, summaries and visual attention maps by strategy; see `make_showcase`."""

    def of_clips(summary: Summary, rows: Mapping[str, dict], attention: Mapping[str, AttentionMaps]) -> dict[str, Any]:
        return example(summary, rows, attention, results.inputs.clip_len)

    return make_showcase(results, "vid", rouge_l, of_clips)


def rouge_l(prediction: Mapping[str, Any], summary: Summary) -> float:
    """F1 of the longest common subsequence of words, as the spaces part them: ROUGE-L (Lin 2004) of one pair, 0..1."""
    ours, theirs = words_of(prediction["summary"]), words_of(summary.summary)
    common, _ = in_common(ours, theirs)
    return 2 * len(common) / (len(ours) + len(theirs))


def in_common(ours: Sequence[str], theirs: Sequence[str]) -> tuple[list[int], list[int]]:
    """Places in either text of a longest common subsequence of words."""
    longest = [[0] * (len(theirs) + 1) for _ in range(len(ours) + 1)]  # of what begins at (i, j)
    for i in reversed(range(len(ours))):
        row, below = longest[i], longest[i + 1]
        for j in reversed(range(len(theirs))):
            row[j] = below[j + 1] + 1 if ours[i] == theirs[j] else max(below[j], row[j + 1])
    places: tuple[list[int], list[int]] = [], []
    i = j = 0
    while i < len(ours) and j < len(theirs):
        if ours[i] == theirs[j]:
            places[0].append(i)
            places[1].append(j)
            i, j = i + 1, j + 1
        elif longest[i + 1][j] >= longest[i][j + 1]:
            i += 1
        else:
            j += 1
    return places


def example(
    summary: Summary, rows: Mapping[str, dict], attention: Mapping[str, AttentionMaps], clip_len: float
) -> dict[str, Any]:
    """What the player shows of a video. Its duration is that of its clips, and the page cuts it to the video's own."""
    found = {name: of_run.get(summary.vid, words=0) for name, of_run in attention.items()}
    seen = [look for look in found.values() if look is not None]
    words = seen[0][0]["words"] if seen else []
    clips = seen[0][1].shape[1] if seen else 0
    if any(note["words"] != words or array.shape[1] != clips for note, array in seen):
        raise InputError(f"attention of {summary.vid}: strategies differ in words or clips; evaluate all of them again")
    reference, said = words_of(summary.summary), summary.transcript.split()
    read_all = len(words) >= len(said) or said[: len(words) - 1] != words[:-1]
    return {
        "title": summary.summary,
        "heard": summary.heard,
        "reference": reference,
        "words": words,
        "unread": [] if read_all else said[len(words) :],
        "duration": clips * clip_len,
        "runs": {
            name: _told(words_of(row["summary"]), reference)
            | {"rouge": round(100 * rouge_l(row, summary), 1), "attention": _attention(found[name])}
            for name, row in rows.items()
        },
    }


def _told(summary: list[str], reference: list[str]) -> dict[str, Any]:
    """The words of a summary, and the places of those in it and in the reference that the other lacks."""
    ours, theirs = in_common(summary, reference)
    return {
        "summary": summary,
        "other": sorted(set(range(len(summary))) - set(ours)),
        "lacks": sorted(set(range(len(reference))) - set(theirs)),
    }


def _attention(look: tuple[dict, np.ndarray] | None) -> dict[str, Any] | None:
    """Attention (words, clips) as bytes in base64, row by row, and the value of the highest byte."""
    if look is None or not look[1].size:
        return None
    peak = float(look[1].max())
    levels = np.round(look[1] / max(peak, 1e-9) * LEVELS).astype(np.uint8)
    return {"peak": round(peak, 6), "bytes": base64.b64encode(levels.tobytes()).decode("ascii")}


WHITESPACE = (
    "words as the spaces part them, not stemmed, as in the VG-GPLMs evaluator; of scripts without spaces, characters"
)
LATIN = "of the library rouge_score, which knows the letters a to z only: 0 for equal texts in Chinese or Arabic"
SUMMARIZATION = ReportedTask(
    name="summarization",
    title="Summarization",
    about="Given the transcript of a video and its frames, the model writes a short text about it.",
    samples="summaries",
    sample="summary",
    columns=(
        "ROUGE-1-whitespace",
        "ROUGE-2-whitespace",
        "ROUGE-L-whitespace",
        "BLEU-4",
        "METEOR-2007-exact-stem",
        "CIDEr-D",
        "ContentF1-VG-GPLMs-exact-stem",
    ),
    notes={
        "ROUGE-1-whitespace": f"words shared with the reference, as F1, mean over videos; {WHITESPACE}",
        "ROUGE-2-whitespace": "the same of pairs of neighbouring words",
        "ROUGE-L-whitespace": f"longest common subsequence of words, as F1, mean over videos; {WHITESPACE}",
        **{f"ROUGE-{n}-rouge_score{stem}": LATIN for n in "12L" for stem in ("", "-stem")},
        "BLEU-4": "of all videos together: geometric mean of the precisions of 1 to 4 words in a row, times the "
        "brevity penalty, not smoothed, as in nlg-eval",
        "METEOR-2007-exact-stem": "METEOR of 2007 with equal words and equal stems only, without synonyms; lies far "
        "above the METEOR 1.5 of published tables",
        "CIDEr-D": "from 0 to 10, not percent: 1 to 4 words in a row, rare ones weighing more, as in nlg-eval",
        "ContentF1-VG-GPLMs-exact-stem": "F1 of content words as VG-GPLMs computes it (it can pass 100), aligned by "
        "equal words and stems; lies somewhat below the published way, which needs METEOR 1.5",
    },
    below={
        "shuffled": "each video with the summary of another: what is reached by knowing only how summaries sound",
        "lead": "the first sentence of the transcript in place of a summary",
    },
    above={},
    load=load,
    showcase=showcase,
    scales={"CIDEr-D": 10.0},
)
