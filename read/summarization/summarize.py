"""Summaries of videos by a text model that sees them: samples, predictions, and rows that frame a table.

Symbols: B samples, N steps of the longest video, M tokens of the longest transcript, T of the longest summary, dv the
video features' width.
"""

import random
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from read.data import Summary
from read.data.lazy import Held, read
from read.errors import InputError

INPUT_TOKENS, OUTPUT_TOKENS = 512, 64  # as in Yu et al. 2021
LEAD_WORDS = OUTPUT_TOKENS  # of a transcript without full stops
IGNORED = -100  # a label that is not to be predicted
INPUTS = ("video", "video_mask", "input_ids", "attention_mask")
WORD_STARTS = ("Ġ", "▁")  # how byte-level BPE and SentencePiece mark the space before a word


@dataclass(frozen=True)
class SummarySample:
    """A video's clips (N, dv), None for a model that only reads, and the transcript's tokens (M,).

    Clips may be read only when `video` asks for them. The label is the summary and its tokens (T,); None where a
    summary is asked for.
    """

    clips: Held | None
    transcript: Tensor
    vid: str
    target: Tensor | None = None
    summary: str | None = None

    @property
    def video(self) -> Tensor | None:
        """(N, dv) features of the clips, read now."""
        return None if self.clips is None else read(self.clips)


@dataclass(frozen=True)
class Cut:
    """How many texts were longer than the model takes, and how many tokens they lost, in all."""

    texts: int = 0
    tokens: int = 0


def longest_transcript(model: nn.Module) -> int:
    """Tokens of a transcript that a `VisualGuidance` reads: 512, or the model's positions where they are fewer."""
    return min(INPUT_TOKENS, getattr(model.seq2seq.config, "max_position_embeddings", INPUT_TOKENS))


def make_summary_samples(
    summaries: Iterable[Summary],
    clips_of: Callable[[str], Held] | None,
    tokenizer: Any,
    input_tokens: int = INPUT_TOKENS,
    output_tokens: int = OUTPUT_TOKENS,
) -> tuple[list[SummarySample], dict[str, Cut]]:
    """Join transcripts and summaries with the videos' features. Texts that are too long lose their end.

    Args:
        summaries: what to make samples of.
        clips_of: the features (N, dv) of a video id, as `FeatureStore.clips`, which are not read; None: samples
            without video, for models that only read.
        tokenizer: the model's, of transformers.
        input_tokens: most tokens of a transcript, see `longest_transcript`.
        output_tokens: most tokens of a summary, of the end token too.

    Returns:
        The samples, and what was cut of `transcript` and `summary`.

    Raises:
        InputError: whatever `clips_of` raises for a video without features.
    """
    limits, cut = {"transcript": input_tokens, "summary": output_tokens}, {"transcript": Cut(), "summary": Cut()}
    samples = []
    for summary in summaries:
        ids = {}
        for key, most in limits.items():
            ids[key], lost = _tokens(tokenizer, getattr(summary, key), most)
            if lost:
                cut[key] = Cut(cut[key].texts + 1, cut[key].tokens + lost)
        clips = None if clips_of is None else clips_of(summary.vid)
        samples.append(SummarySample(clips, ids["transcript"], summary.vid, ids["summary"], summary.summary))
    return samples, cut


def unlabelled_sample(vid: str, video: Tensor, transcript: str, tokenizer: Any, input_tokens: int) -> SummarySample:
    """A sample of which a summary is asked; arguments as of `make_summary_samples`, the video's features (N, dv)."""
    return SummarySample(video, _tokens(tokenizer, transcript, input_tokens)[0], vid)


def _tokens(tokenizer: Any, text: str, most: int) -> tuple[Tensor, int]:
    """The tokens of a text, at most `most`, and how many are lost."""
    ids = tokenizer(text, verbose=False).input_ids
    if lost := max(0, len(ids) - most):
        ids = tokenizer(text, truncation=True, max_length=most).input_ids  # keeps the end token
    return torch.tensor(ids, dtype=torch.long), lost


def collate(samples: Sequence[SummarySample], pad: int) -> dict[str, Any]:
    """Pad samples to one batch; `pad` is the id of the padding token.

    Returns:
        `video` (B, N, dv) and `video_mask` (B, N), None for samples without video; `input_ids` and `attention_mask`
        (B, M); of samples that have a target, `labels` (B, T), -100 where there is no token.
    """
    batch = {"video": None, "video_mask": None}
    if samples[0].clips is not None:
        batch["video"], batch["video_mask"] = _padded([sample.video for sample in samples], 0)
    batch["input_ids"], batch["attention_mask"] = _padded([sample.transcript for sample in samples], pad)
    if targets := [sample.target for sample in samples if sample.target is not None]:
        batch["labels"], _ = _padded(targets, IGNORED)
    return batch


def check(model: nn.Module, samples: Sequence[SummarySample]) -> None:
    """Raise InputError for a sample that the model cannot take, naming its video. Held are not read."""
    most = longest_transcript(model)
    for sample in samples:
        if not 0 < len(sample.transcript) <= most:
            raise InputError(
                f"video {sample.vid}: its transcript has {len(sample.transcript)} tokens, but 1 to {most} are due, "
                "special ones among them"
            )
        if (sample.clips is None) != (samples[0].clips is None):
            blind = sample.vid if sample.clips is None else samples[0].vid
            raise InputError(f"video {blind}: has no features, as other samples have; all have them, or none")
        if sample.clips is not None and (len(sample.clips.shape) != 2 or not len(sample.clips)):
            shape = tuple(sample.clips.shape)
            raise InputError(f"video {sample.vid}: its features have the shape {shape}, not (N, dv)")


def check_numbers(samples: Sequence[SummarySample]) -> None:
    """Read samples, and raise InputError for one with a feature that is not finite."""
    for sample in samples:
        if sample.clips is not None and not torch.isfinite(read(sample.clips)).all():
            raise InputError(f"video {sample.vid}: its features hold NaN or infinity; extract them again")


def summarize(
    model: nn.Module,
    tokenizer: Any,
    samples: Sequence[SummarySample],
    beams: int = 5,
    max_new_tokens: int = OUTPUT_TOKENS,
    no_repeat_ngram: int = 3,
    batch_size: int = 16,
) -> list[dict[str, str]]:
    """Write a summary of every sample, on the device the model is on, in evaluation mode. Nothing is drawn by chance.

    Args:
        model: a `VisualGuidance`, with or without adapters.
        tokenizer: the model's.
        samples: of these, the targets are not looked at.
        beams: of beam search; 1 is greedy.
        max_new_tokens: of a summary; fewer where the model has fewer positions.
        no_repeat_ngram: no sequence of so many tokens stands twice in a summary; 0: anything may.
        batch_size: samples at a time.

    Returns:
        One row per sample: `vid`, `summary`.

    Raises:
        InputError: a sample that is no good, see `check`; or the model's outputs are not numbers.
    """
    positions = getattr(model.seq2seq.config, "max_position_embeddings", max_new_tokens)
    settings = {
        "num_beams": beams, "no_repeat_ngram_size": no_repeat_ngram, "max_new_tokens": min(max_new_tokens, positions),
        "do_sample": False, "logits_processor": [_only_numbers],
    }  # fmt: skip
    rows = []
    for part, batch in _batches(model, tokenizer, samples, batch_size):
        written = model.generate(**batch, **settings)
        texts = tokenizer.batch_decode(written, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        rows += [
            {"vid": sample.vid, "summary": " ".join(text.split())} for sample, text in zip(part, texts, strict=True)
        ]
    return rows


def visual_attention(
    model: nn.Module, tokenizer: Any, samples: Sequence[SummarySample], batch_size: int = 16
) -> list[dict[str, Any]]:
    """Which steps of its video each word of a transcript attends to.

    Returns:
        One row per sample: `vid`; `words`, those of the transcript that the model has read; `attention`, an array
        (words, N), the mean over heads and over a word's tokens. Rows sum to 1.

    Raises:
        InputError: as `summarize`; or samples have no video.
    """
    rows = []
    for part, batch in _batches(model, tokenizer, samples, batch_size):
        if batch["video"] is None:
            raise InputError(f"video {part[0].vid}: has no features, so there is nothing to attend to")
        with torch.no_grad():
            start = model.seq2seq.config.decoder_start_token_id
            first = batch["input_ids"].new_full((len(part), 1), start)  # all that the encoder needs a decoder for
            weights = model(**batch, decoder_input_ids=first, visual_attention=True)["visual_attention"].float().cpu()
        for sample, of_tokens in zip(part, weights, strict=True):
            words = _words(tokenizer, sample.transcript.tolist())
            attention = [of_tokens[places, : len(sample.clips)].mean(0) for _, places in words]
            stacked = torch.stack(attention) if words else of_tokens[:0, : len(sample.clips)]
            rows.append({"vid": sample.vid, "words": [word for word, _ in words], "attention": stacked.numpy()})
    return rows


def lead(summaries: Iterable[Summary]) -> list[dict[str, str]]:
    """The first sentence of each transcript in place of a summary, 64 words at most; rows as of `summarize`."""
    first = (re.split(r"(?<=[.!?])\s", summary.transcript.strip(), maxsplit=1)[0] for summary in summaries)
    return [
        {"vid": summary.vid, "summary": " ".join(text.split()[:LEAD_WORDS])}
        for summary, text in zip(summaries, first, strict=True)
    ]


def shuffled(summaries: Sequence[Summary], draws: int = 5, seed: int = 0) -> list[list[dict[str, str]]]:
    """Each video with the summary of another, by chance: what a model scores that knows only how summaries sound.

    Returns:
        For each draw, rows as of `summarize`; a table's number is the mean of the draws' scores.

    Raises:
        InputError: there are fewer than two summaries.
    """
    if len(summaries) < 2:
        raise InputError(f"shuffled: {len(summaries)} summaries; it takes two to exchange them")
    rng, found = random.Random(seed), []
    for _ in range(draws):
        order = rng.sample(range(len(summaries)), len(summaries))
        other = dict(zip(order, order[1:] + order[:1], strict=True))  # one cycle, so that none keeps its own
        found.append([{"vid": one.vid, "summary": summaries[other[i]].summary} for i, one in enumerate(summaries)])
    return found


def _batches(
    model: nn.Module, tokenizer: Any, samples: Sequence[SummarySample], batch_size: int
) -> Iterator[tuple[Sequence[SummarySample], dict[str, Any]]]:
    """Samples, `batch_size` at a time, with the model's inputs; in between it is in evaluation mode."""
    check(model, samples)
    device, training = next(model.parameters()).device, model.training
    model.eval()
    try:
        for start in range(0, len(samples), batch_size):
            part = samples[start : start + batch_size]
            check_numbers(part)
            batch = collate(part, tokenizer.pad_token_id)
            yield part, {name: None if batch[name] is None else batch[name].to(device) for name in INPUTS}
    finally:
        model.train(training)


def _padded(rows: list[Tensor], value: int) -> tuple[Tensor, Tensor]:
    """Sequences (B, T, ...) and their mask (B, T)."""
    lengths = torch.tensor([len(row) for row in rows])
    mask = torch.arange(int(lengths.max()))[None] < lengths[:, None]
    return pad_sequence(rows, batch_first=True, padding_value=value), mask


def _only_numbers(tokens: Tensor, scores: Tensor) -> Tensor:
    """Pass scores on; generation would go on with NaN as if nothing were wrong."""
    if scores.isnan().any():
        raise InputError("summarize: the model's outputs hold NaN; were its weights trained at too high a rate?")
    return scores


def _words(tokenizer: Any, ids: list[int]) -> list[tuple[str, list[int]]]:
    """The words that tokens make up, each with the tokens' places; special tokens are none."""
    places: list[list[int]] = []
    special = set(tokenizer.all_special_ids)
    for place, token in enumerate(tokenizer.convert_ids_to_tokens(ids)):
        if ids[place] in special:
            continue
        if not places or token.startswith(WORD_STARTS):
            places.append([])
        places[-1].append(place)
    words = ((tokenizer.decode([ids[place] for place in group]).strip(), group) for group in places)
    return [(word, group) for word, group in words if word]
