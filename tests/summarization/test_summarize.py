"""Samples, summaries, attention and the rows that frame a table."""

import copy
import random

import numpy as np
import pytest
import torch
from torch import nn

from read.adapters import AdapterConfig, inject
from read.backbones.summarization.small_bart import small_bart
from read.backbones.tokenizer import train_tokenizer
from read.data import Summary
from read.errors import InputError
from read.summarization.summarize import (
    Cut,
    collate,
    lead,
    longest_transcript,
    make_summary_samples,
    shuffled,
    summarize,
    unlabelled_sample,
    visual_attention,
)

pytest.importorskip("transformers")
DV = 6
SUMMARIES = [
    Summary("v0", "the cat meets the horse. then it leaves", "a cat and a horse"),
    Summary("v1", "the heron", "a heron"),
    Summary("v2", "", "nobody speaks"),
    Summary("v3", "the horse leaves the heron and the cat and the horse", "a horse leaves"),
]
STEPS = {"v0": 4, "v1": 7, "v2": 1, "v3": 2}


def video_of(vid):
    return torch.from_numpy(np.random.default_rng(int(vid[1:])).normal(size=(STEPS[vid], DV)).astype(np.float32))


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer([text for one in SUMMARIES for text in (one.transcript, one.summary)], 300)


@pytest.fixture(scope="module")
def samples(tokenizer):
    return make_summary_samples(SUMMARIES, video_of, tokenizer)[0]


@pytest.fixture(scope="module")
def model(tokenizer):
    """Untrained, but its words see the video and its outputs are far from ties."""
    torch.manual_seed(0)
    model = small_bart(len(tokenizer), DV, hidden=16, layers=2, heads=2, feed_forward=24, positions=64, dropout=0.3)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.5) if parameter.dim() > 1 else None
    return model


def test_samples_hold_tokens_and_features(samples, tokenizer):
    for sample, summary in zip(samples, SUMMARIES, strict=True):
        assert (sample.vid, sample.summary) == (summary.vid, summary.summary)
        assert tokenizer.decode(sample.transcript, skip_special_tokens=True) == summary.transcript
        assert tokenizer.decode(sample.target, skip_special_tokens=True) == summary.summary
        assert sample.video.shape == (STEPS[summary.vid], DV)


def test_too_long_texts_lose_their_end_and_are_counted(tokenizer):
    whole, cut = make_summary_samples(SUMMARIES, None, tokenizer)
    assert cut == {"transcript": Cut(), "summary": Cut()} and whole[0].video is None
    short, cut = make_summary_samples(SUMMARIES, None, tokenizer, input_tokens=6, output_tokens=4)
    for key, field, most in (("transcript", "transcript", 6), ("summary", "target", 4)):
        lengths = [len(getattr(sample, field)) for sample in whole]
        lost = [length - most for length in lengths if length > most]
        assert cut[key] == Cut(len(lost), sum(lost)) and len(lost) > 1
        for long, sample in zip(whole, short, strict=True):
            ids, all_ids = getattr(sample, field).tolist(), getattr(long, field).tolist()
            assert ids == (all_ids if len(all_ids) <= most else [*all_ids[: most - 1], tokenizer.eos_token_id])


def test_a_video_without_features_is_an_error(tokenizer):
    def absent(vid):
        raise InputError(f"no features of video {vid}")

    with pytest.raises(InputError, match="no features of video v0"):
        make_summary_samples(SUMMARIES, absent, tokenizer)


def test_longest_transcript(model):
    assert longest_transcript(model) == 64
    assert longest_transcript(small_bart(300, 2, hidden=8, heads=2, positions=1024)) == 512


def test_batches_are_padded_and_masked(samples):
    batch = collate(samples, pad=1)
    for index, sample in enumerate(samples):
        for key, mask, row in (
            ("video", batch["video_mask"], sample.video),
            ("input_ids", batch["attention_mask"], sample.transcript),
            ("labels", batch["labels"] != -100, sample.target),
        ):
            assert torch.equal(batch[key][index][mask[index]], row)
    assert (batch["input_ids"][~batch["attention_mask"]] == 1).all()


@pytest.mark.parametrize("beams", [1, 5])
def test_a_batch_gives_what_each_sample_gives_alone(model, tokenizer, samples, beams):
    model = copy.deepcopy(model).double()  # near ties fall either way
    inject(model, AdapterConfig(mixer="gru"))
    for parameter in model.adapters.parameters():
        nn.init.normal_(parameter, std=0.3)
    settings = {"beams": beams, "max_new_tokens": 12}
    together = summarize(model, tokenizer, samples, **settings)
    assert [row["vid"] for row in together] == list(STEPS)
    assert len({row["summary"] for row in together}) > 1
    assert together == [summarize(model, tokenizer, [sample], **settings)[0] for sample in samples]
    assert together == summarize(model, tokenizer, samples, **settings, batch_size=3)


def test_a_summary_is_asked_for_without_one(model, tokenizer, samples):
    most = longest_transcript(model)
    asked = [
        unlabelled_sample(summary.vid, sample.video, summary.transcript, tokenizer, most)
        for summary, sample in zip(SUMMARIES, samples, strict=True)
    ]
    assert "labels" not in collate(asked, tokenizer.pad_token_id)
    assert summarize(model, tokenizer, asked, beams=2) == summarize(model, tokenizer, samples, beams=2)


def test_summaries_depend_on_the_video_and_work_without(model, tokenizer, samples):
    blind = make_summary_samples(SUMMARIES, None, tokenizer)[0]
    assert summarize(model, tokenizer, blind) != summarize(model, tokenizer, samples)


def test_neither_mode_nor_random_state_change(model, tokenizer, samples):
    first = summarize(model, tokenizer, samples)
    state, draws = torch.get_rng_state(), (random.getstate(), np.random.get_state()[1].tolist())
    for training in (True, False):
        model.train(training)
        assert summarize(model, tokenizer, samples) == first
        assert model.training is training
    assert torch.equal(torch.get_rng_state(), state)
    assert (random.getstate(), np.random.get_state()[1].tolist()) == draws


def test_no_sequence_stands_twice_unless_it_may(tokenizer, samples):
    torch.manual_seed(0)
    stuck = small_bart(len(tokenizer), DV, hidden=16, layers=1, heads=2, feed_forward=8, positions=64)
    _, cat, _ = tokenizer(" cat").input_ids
    stuck.seq2seq.final_logits_bias[0, cat] = 100.0  # it would say nothing else
    free, held = (
        summarize(stuck, tokenizer, samples[:1], beams=1, max_new_tokens=9, no_repeat_ngram=order)[0]["summary"]
        for order in (0, 3)
    )
    assert free == " ".join(["cat"] * 8)
    assert held.startswith("cat cat cat") and not held.startswith("cat cat cat cat")


def test_no_more_is_written_than_there_are_positions(tokenizer, samples):
    torch.manual_seed(0)
    narrow = small_bart(len(tokenizer), DV, hidden=16, layers=1, heads=2, feed_forward=8, positions=40)
    narrow.seq2seq.final_logits_bias[0, tokenizer.eos_token_id] = -100.0
    summarize(narrow, tokenizer, samples[:1], beams=2, max_new_tokens=64)


def test_bad_samples_and_outputs_are_named(model, tokenizer, samples):
    def changed(**fields):
        sample = copy.copy(samples[1])
        for name, value in fields.items():
            object.__setattr__(sample, name, value)
        return [samples[0], sample]

    for fields, message in (
        ({"clips": torch.full((3, DV), torch.nan)}, "video v1: its features hold NaN"),
        ({"clips": torch.zeros(0, DV)}, r"video v1: its features have the shape \(0, 6\)"),
        ({"clips": None}, "video v1: has no features, as other samples have"),
        ({"transcript": torch.zeros(0, dtype=torch.long)}, "video v1: its transcript has 0 tokens"),
        ({"transcript": torch.full((65,), 5)}, "video v1: its transcript has 65 tokens, but 1 to 64"),
    ):
        with pytest.raises(InputError, match=message):
            summarize(model, tokenizer, changed(**fields))
    broken = copy.deepcopy(model)
    nn.init.constant_(broken.guide.fusion.out.weight, torch.nan)
    for beams in (1, 3):
        with pytest.raises(InputError, match="outputs hold NaN"):
            summarize(broken, tokenizer, samples, beams=beams)


def test_attention_is_per_word_of_the_transcript(model, tokenizer, samples):
    rows = visual_attention(model, tokenizer, samples, batch_size=3)
    for row, summary in zip(rows, SUMMARIES, strict=True):
        assert row["vid"] == summary.vid and row["words"] == summary.transcript.split()
        assert row["attention"].shape == (len(row["words"]), STEPS[summary.vid])
        np.testing.assert_allclose(row["attention"].sum(1), 1, rtol=1e-5)
    sample = samples[0]
    batch = collate([sample], 1)
    with torch.no_grad():
        inputs = {key: batch[key] for key in ("video", "video_mask", "input_ids", "attention_mask", "labels")}
        tokens = model(**inputs, visual_attention=True)["visual_attention"][0]
    places = [i for i, token in enumerate(tokenizer.convert_ids_to_tokens(sample.transcript)) if token == "Ġcat"]
    np.testing.assert_allclose(rows[0]["attention"][1], tokens[places[0]], rtol=1e-4)
    with pytest.raises(InputError, match="v0: has no features"):
        visual_attention(model, tokenizer, make_summary_samples(SUMMARIES, None, tokenizer)[0])


def test_lead_is_the_first_sentence():
    rows = lead([*SUMMARIES, Summary("long", "word " * 100, "s"), Summary("dots", "hi . it is 3.5 m ! yes", "s")])
    texts = {row["vid"]: row["summary"] for row in rows}
    assert texts["v0"] == "the cat meets the horse." and texts["v1"] == "the heron" and texts["v2"] == ""
    assert texts["long"] == " ".join(["word"] * 64) and texts["dots"] == "hi ."


def test_shuffled_gives_every_video_the_summary_of_another():
    own = {one.vid: one.summary for one in SUMMARIES}
    found = shuffled(SUMMARIES, draws=20, seed=3)
    assert len(found) == 20 and found == shuffled(SUMMARIES, draws=20, seed=3) != shuffled(SUMMARIES, 20, 4)
    for rows in found:
        assert [row["vid"] for row in rows] == list(own)
        assert sorted(row["summary"] for row in rows) == sorted(own.values())
        assert all(row["summary"] != own[row["vid"]] for row in rows)
    assert len({tuple(row["summary"] for row in rows) for rows in found}) == 6, "all cycles of four are drawn"
    with pytest.raises(InputError, match="takes two"):
        shuffled(SUMMARIES[:1])
