"""Summarizers under the training loop, on a planted problem: the words say who, the video says where."""

import copy
import math
import subprocess
import sys
from dataclasses import replace
from itertools import count

import pytest
import torch
from torch import nn

import read.summarization.task
from read.adapters import apply_strategy, load_adapter, save_adapter, strategy_names
from read.alignment import Alignment
from read.backbones.summarization.small_bart import small_bart
from read.backbones.tokenizer import train_tokenizer
from read.data import Summary
from read.errors import InputError
from read.metrics.summarization import rouge
from read.summarization.summarize import collate, make_summary_samples, summarize
from read.summarization.task import Summarization
from read.train import TrainSettings, fit, loss_terms
from read.tuning import Tuning, tune

pytest.importorskip("transformers")
DV, ANIMALS, PLACES = 6, ("cat", "horse", "heron", "snake"), ("forest", "desert")
LOOKS = torch.randn(2, DV, generator=torch.Generator().manual_seed(0))
SUMMARIES = [
    Summary(f"{animal}_{place}", f"look at the {animal} over there", f"a {animal} in the {place}")
    for animal in ANIMALS
    for place in PLACES
]
SHORT = TrainSettings(steps=2, batch_size=4, learning_rate=1e-2, eval_every=1)


def video_of(vid):
    place = PLACES.index(vid.split("_")[1])
    generator = torch.Generator().manual_seed(len(vid))
    return LOOKS[place] + 0.1 * torch.randn(3 + len(vid) % 3, DV, generator=generator)


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer([text for one in SUMMARIES for text in (one.transcript, one.summary)] * 2, 320)


@pytest.fixture(scope="module")
def samples(tokenizer):
    return make_summary_samples(SUMMARIES, video_of, tokenizer)[0]


@pytest.fixture
def task(tokenizer):
    return Summarization(tokenizer, max_new_tokens=12)


def small(tokenizer, dropout=0.0, hidden=16):
    torch.manual_seed(0)
    sizes = {"hidden": hidden, "layers": 1, "heads": 2, "feed_forward": 2 * hidden, "positions": 32}
    return small_bart(len(tokenizer), DV, **sizes, dropout=dropout, visual_layers=1)


@pytest.fixture
def ever_better(monkeypatch):
    """Validation scores that rise, so that the last state is the best."""
    rising = count()
    task = read.summarization.task.Summarization
    monkeypatch.setattr(task, "score", lambda *_: next(rising))
    monkeypatch.setattr(task, "score_videos", lambda *args: {sample.vid: next(rising) for sample in args[2]})


def test_it_learns_who_from_the_words_and_where_from_the_video(tokenizer, samples, task):
    model = small(tokenizer, hidden=32)
    settings = TrainSettings(steps=120, batch_size=8, learning_rate=5e-3, eval_every=60)
    history = fit(model, task, samples, samples, settings)
    written = {row["vid"]: row["summary"] for row in summarize(model, tokenizer, samples, beams=1)}
    assert history.best_score > 95 and history.best_score == task.score(model, samples)
    assert sum(animal in written[f"{animal}_{place}"] for animal in ANIMALS for place in PLACES) >= 7
    assert sum(place in written[f"{animal}_{place}"] for animal in ANIMALS for place in PLACES) >= 7
    other = {sample.vid: samples[i ^ 1].video for i, sample in enumerate(samples)}  # the same words elsewhere
    swapped = summarize(model, tokenizer, [replace(sample, clips=other[sample.vid]) for sample in samples], beams=1)
    assert sum(row["vid"].split("_")[1] not in row["summary"] for row in swapped) >= 7


def test_words_alone_tell_who(tokenizer, task):
    blind = make_summary_samples([*SUMMARIES, Summary("silent", "", "nobody speaks")], None, tokenizer)[0]
    settings = TrainSettings(steps=120, batch_size=9, learning_rate=5e-3, eval_every=60)
    model = small(tokenizer, hidden=32)
    fit(model, task, blind, blind, settings)
    written = {row["vid"]: row["summary"] for row in summarize(model, tokenizer, blind, beams=1)}
    assert written.pop("silent") == "nobody speaks"
    assert all(vid.split("_")[0] in text for vid, text in written.items())


@pytest.mark.parametrize("name", sorted({*strategy_names()} - {"peft"}))  # lora, by another name
def test_every_strategy_trains_is_saved_and_loads(name, tokenizer, samples, task, ever_better, tmp_path):
    base = small(tokenizer)
    fit(base, task, samples, samples, replace(SHORT, steps=4))
    aligns = Alignment() if name == "read_pvla" else None

    def build(samples):
        return apply_strategy(name, copy.deepcopy(base), train_head=False)

    before = {key: value.clone() for key, value in build([]).named_parameters()}
    tuned = tune(build, task, samples, samples[:2], SHORT, Tuning([1e-3, 1e-2]), aligns)
    model = tuned.model
    moved = [key for key, value in model.named_parameters() if not torch.equal(value, before[key])]
    assert moved and all(model.get_parameter(key).requires_grad for key in moved)
    assert ("alignment" in tuned.history.rows[-1]) == bool(aligns)
    written = summarize(model, tokenizer, samples, beams=2, max_new_tokens=8)
    save_adapter(model, tmp_path / "adapter")
    loaded = load_adapter(copy.deepcopy(base), tmp_path / "adapter")
    assert summarize(loaded, tokenizer, samples, beams=2, max_new_tokens=8) == written
    batch = task.collate(samples)
    with torch.no_grad():
        found, kept = (task.forward(one.eval(), batch)["entropy"] for one in (loaded, model))
        assert torch.equal(found, kept)


def test_the_loss_is_that_of_the_summaries_tokens(tokenizer, samples, task):
    model = small(tokenizer).eval()
    for smoothing in (0.0, 0.1):
        terms = loss_terms(model, replace(task, smoothing=smoothing), task.collate(samples))
        assert set(terms) == {"cross_entropy"}
        total, tokens = 0.0, 0
        for sample in samples:  # each alone, so without padding; token by token
            start = model.seq2seq.config.decoder_start_token_id
            before = torch.cat((torch.tensor([start]), sample.target[:-1]))
            with torch.no_grad():
                logits = model(sample.video[None], None, sample.transcript[None], decoder_input_ids=before[None]).logits
            log_shares = logits[0].log_softmax(-1)
            for row, token in zip(log_shares, sample.target.tolist(), strict=True):
                total -= ((1 - smoothing) * row[token] + smoothing * row.mean()).item()
                tokens += 1
        assert terms["cross_entropy"].item() == pytest.approx(total / tokens, rel=1e-4)
    plain = loss_terms(model, replace(task, smoothing=0.0), task.collate(samples))["cross_entropy"]
    batch = collate(samples, tokenizer.pad_token_id)
    labels = {"labels": batch.pop("labels")}
    torch.testing.assert_close(plain, model(**batch, **labels).loss)  # as transformers has it


def test_more_padding_changes_nothing(tokenizer, samples, task):
    model, batch = small(tokenizer).eval(), task.collate(samples)
    plain = loss_terms(model, task, batch)["cross_entropy"]
    wide = {
        "video": nn.functional.pad(batch["video"], (0, 0, 0, 4), value=7.0),
        "video_mask": nn.functional.pad(batch["video_mask"], (0, 4)),
        "input_ids": nn.functional.pad(batch["input_ids"], (0, 5), value=tokenizer.pad_token_id),
        "attention_mask": nn.functional.pad(batch["attention_mask"], (0, 5)),
        "labels": nn.functional.pad(batch["labels"], (0, 3), value=-100),
    }
    torch.testing.assert_close(loss_terms(model, task, wide)["cross_entropy"], plain)


def test_the_score_is_rouge_l_of_greedy_summaries(tokenizer, samples, task):
    model = small(tokenizer)
    fit(model, task, samples, samples, TrainSettings(steps=20, batch_size=8, learning_rate=1e-2))
    written = [row["summary"] for row in summarize(model, tokenizer, samples, beams=1, max_new_tokens=12)]
    references = [one.summary for one in SUMMARIES]
    assert task.score(model, samples) == rouge(written, references)["ROUGE-L-whitespace"] > 10
    apart = {
        one.vid: rouge([text], [one.summary])["ROUGE-L-whitespace"]
        for text, one in zip(written, SUMMARIES, strict=True)
    }
    assert task.score_videos(model, samples) == apart and len(set(apart.values())) > 1


def test_a_seed_decides_everything_and_leaves_no_trace(tokenizer, samples, task, ever_better):
    digests, written = [], []
    for seed in (0, 0, 1):
        model = small(tokenizer, dropout=0.2)
        state = torch.get_rng_state()
        fit(model, task, samples, samples, replace(SHORT, steps=6, eval_every=3, seed=seed))
        assert torch.equal(torch.get_rng_state(), state) and not model.training
        digests.append(model.digest())
        written.append(summarize(model, tokenizer, samples))
    assert digests[0] == digests[1] != digests[2] and written[0] == written[1]


def test_a_loss_of_nan_stops_and_names_step_and_term(tokenizer, samples, task, ever_better, monkeypatch):
    model, steps = small(tokenizer), count()
    forward = Summarization.forward

    def broken(self, model, batch):
        return {"entropy": forward(self, model, batch)["entropy"] * (1 if next(steps) < 1 else math.nan)}

    monkeypatch.setattr(Summarization, "forward", broken)
    with pytest.raises(InputError, match="not finite at step 1: cross_entropy is nan"):
        fit(model, task, samples, samples, SHORT)


def test_bad_samples_are_named(tokenizer, samples, task):
    for fields, message in (
        ({"clips": torch.full((3, DV), torch.nan)}, "video cat_desert: its features hold NaN"),
        ({"transcript": torch.full((33,), 5)}, "video cat_desert: its transcript has 33 tokens, but 1 to 32"),
        ({"target": torch.zeros(0, dtype=torch.long)}, "video cat_desert: its summary has no tokens"),
    ):
        with pytest.raises(InputError, match=message):
            wrong = [samples[0], replace(samples[1], **fields)]
            fit(small(tokenizer), task, wrong, samples, SHORT)


def test_importing_the_task_loads_no_transformers():
    modules = "{'transformers', 'tokenizers'} & set(sys.modules)"
    code = f"import sys, read.summarization.task, read.backbones.summarization.small_bart; assert not {modules}"
    subprocess.run([sys.executable, "-c", code], check=True)
