"""The training loop on a planted problem: a word of the query names the pattern of the clips that it describes."""

import subprocess
import sys
from collections import Counter
from dataclasses import replace
from itertools import count

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import read.grounding.task
import read.train
from read.adapters import alignment_states, apply_strategy
from read.alignment import Alignment
from read.backbones import build_backbone
from read.data import Annotation, Sample, collate
from read.errors import InputError
from read.grounding.task import Grounding, validation_score
from read.grounding.windows import WindowSettings
from read.metrics.grounding import random_level
from read.train import TrainSettings, fit, loss_terms, train_until
from read.transport import partial_alignment_loss

SIZES = {
    "video_dim": 16, "text_dim": 12, "hidden": 32, "layers": 1, "heads": 2, "feed_forward": 32,
    "input_dropout": 0.0, "drop_path": 0.1, "tef": False,
}  # fmt: skip
SHORT = TrainSettings(steps=6, batch_size=8, eval_every=3)


def planted(size: int, seed: int, patterns: int = 4) -> list[Sample]:
    world = torch.Generator().manual_seed(0)
    looks = torch.randn(patterns, SIZES["video_dim"], generator=world)
    words = torch.randn(patterns + 3, SIZES["text_dim"], generator=world)
    dice = torch.Generator().manual_seed(seed)
    samples = []
    for index in range(size):
        order = torch.randperm(patterns, generator=dice)[:3]
        lengths = torch.randint(2, 5, (3,), generator=dice)
        clips = order.repeat_interleave(lengths)
        asked = int(torch.randint(0, 3, (1,), generator=dice))
        length = int(torch.randint(2, 6, (1,), generator=dice))
        sentence = torch.randint(patterns, patterns + 3, (length,), generator=dice)
        sentence[0] = order[asked]
        start = int(lengths[:asked].sum())
        ids = tuple(range(start, start + int(lengths[asked])))
        window = (2.0 * start, 2.0 * (start + len(ids)))
        annotation = Annotation(index, "q", f"v{index}", 2.0 * len(clips), (window,), ids, ((4.0,),) * len(ids))
        noise = 0.3 * torch.randn(len(clips), SIZES["video_dim"], generator=dice)
        video, text = F.normalize(looks[clips] + noise, dim=-1), F.normalize(words[sentence], dim=-1)
        samples.append(Sample.labelled(video, text, annotation, 2.0))
    return samples


def small(seed: int = 0):
    torch.manual_seed(seed)
    return build_backbone("univtg", **SIZES)


@pytest.fixture(scope="module")
def train():
    return planted(64, seed=1)


@pytest.fixture(scope="module")
def val():
    return planted(24, seed=2)


@pytest.fixture
def ever_better(monkeypatch):
    """Validation scores that rise, so that the last state is the best."""
    rising = count()
    monkeypatch.setattr(read.grounding.task, "validation_score", lambda *_: next(rising))


def test_it_learns_a_planted_problem(train, val):
    model, rows = small(), []
    settings = TrainSettings(steps=150, batch_size=32, learning_rate=3e-3, eval_every=50)
    history = fit(model, Grounding(), train, val, settings, on_epoch=rows.append)
    assert rows == history.rows and [row["step"] for row in rows] == [0, 50, 100, 150]
    assert rows[-1]["loss"] < 0.5 * rows[1]["loss"]
    chance = random_level([sample.annotation for sample in val], draws=3)
    assert history.best_score > 25 + chance["brief"]["MR-full-mAP"] / 2 + chance["extra"]["HL-clip-AP"] / 2
    terms = [name for name in rows[-1] if name not in ("step", "score", "loss", "learning_rate", "seconds")]
    assert rows[-1]["loss"] == pytest.approx(sum(rows[-1][name] for name in terms), rel=1e-4)


@pytest.mark.gpu
def test_it_trains_on_a_gpu(train, val):
    model = small()
    history = fit(model, Grounding(), train, val, TrainSettings(steps=150, learning_rate=3e-3, eval_every=50))
    assert next(model.parameters()).is_cuda
    assert history.rows[-1]["loss"] < 0.5 * history.rows[1]["loss"]


def test_the_best_state_is_the_one_that_stays(train, val, monkeypatch):
    states, scores = [], iter([1.0, 3.0, 7.0, 2.0, 7.0])

    def score(model, *_):
        states.append(model.digest())
        return next(scores)

    monkeypatch.setattr(read.grounding.task, "validation_score", score)
    model = small()
    history = fit(model, Grounding(), train, val, TrainSettings(steps=4, eval_every=1, batch_size=8))
    assert (history.best_step, history.best_score) == (2, 7.0)
    assert len(set(states)) == 5 and model.digest() == states[2]


def test_a_run_that_only_harms_leaves_the_model_as_it_was(train, val):
    model = small()
    fit(model, Grounding(), train, val, TrainSettings(steps=60, learning_rate=3e-3, eval_every=30))
    before, score = model.digest(), validation_score(model, val, WindowSettings())
    history = fit(model, Grounding(), train, val, TrainSettings(steps=5, learning_rate=10.0, eval_every=5))
    assert history.best_step == 0 and model.digest() == before and history.best_score == score


def test_frozen_parameters_stay(train, val, ever_better):
    model = small()
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name.startswith("class_embed"))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    fit(model, Grounding(), train, val, TrainSettings(steps=20, learning_rate=1e-2, eval_every=20))
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed and all(name.startswith("class_embed") for name in changed)
    assert all(parameter.grad is None for name, parameter in model.named_parameters() if name not in changed)


def test_a_seed_decides_everything_and_leaves_no_trace(train, val, ever_better):
    digests = []
    for seed in (0, 0, 1):
        model = small()
        state = torch.get_rng_state()
        fit(model, Grounding(), train, val, replace(SHORT, seed=seed))
        assert torch.equal(torch.get_rng_state(), state)
        digests.append(model.digest())
    assert digests[0] == digests[1] != digests[2]


def test_nothing_to_train_is_an_error(train, val):
    with pytest.raises(InputError, match="no parameter that requires a gradient"):
        fit(small().requires_grad_(False), Grounding(), train, val, SHORT)
    with pytest.raises(InputError, match="0 samples to train on"):
        fit(small(), Grounding(), [], val, SHORT)


def test_a_loss_of_nan_stops_and_names_step_and_term(train, val, monkeypatch):
    model, steps = small(), count()
    honest = model.losses
    fate = lambda: torch.tensor(0.0 if next(steps) < 2 else torch.nan)  # noqa: E731
    monkeypatch.setattr(model, "losses", lambda *args: honest(*args) | {"giou": fate()})
    with pytest.raises(InputError, match="not finite at step 2: giou is nan"):
        fit(model, Grounding(), train, val, SHORT)


def test_a_feature_of_nan_stops_and_names_the_video(train, val):
    broken = train[5].video.clone()
    broken[0, 0] = torch.nan
    sample = Sample.labelled(broken, train[5].text, train[5].annotation, 2.0)
    with pytest.raises(InputError, match="video v5: its features hold NaN"):
        fit(small(), Grounding(), [*train[:5], sample], val, SHORT)


def test_every_epoch_shows_every_sample_once_in_even_batches(train):
    batches = read.train._batches(train[:20], 8, 0, collate)
    epochs = [[next(batches) for _ in range(3)] for _ in range(2)]
    orders = [[annotation.qid for batch in epoch for annotation in batch["annotations"]] for epoch in epochs]
    assert all(Counter(order) == Counter(range(20)) for order in orders) and orders[0] != orders[1]
    assert [len(batch["annotations"]) for batch in epochs[0]] == [7, 7, 6]


def test_learning_rate_rises_and_falls():
    settings = TrainSettings(steps=100, warmup=0.1)
    shares = [read.train._share(step, settings) for step in range(101)]
    assert shares[0] == pytest.approx(0.1) and shares[10] == 1 and shares[55] == pytest.approx(0.5)
    assert shares[100] == 0 and shares[10:] == sorted(shares[10:], reverse=True)
    constant = TrainSettings(steps=100, warmup=0.1, schedule="constant")
    assert {read.train._share(step, constant) for step in range(10, 101)} == {1.0}


class Line:
    """The simplest task: samples are pairs of numbers; each is cut in two."""

    def prepare(self, model, samples):
        return [half for x, y in samples for half in ((x, y), (-x, -y))]

    def collate(self, samples):
        x, y = torch.tensor(samples).T
        return {"x": x[:, None], "y": y[:, None]}

    def forward(self, model, batch):
        return model(batch["x"])

    def losses(self, model, outputs, batch):
        return {"squares": F.mse_loss(outputs, batch["y"]), "none": 0 * outputs.sum()}

    def score(self, model, samples):
        return -sum(abs(model(torch.tensor([x])).item() - y) for x, y in samples)


def test_any_task_trains():
    torch.manual_seed(0)
    model, points = nn.Linear(1, 1), [(x, 3 * x) for x in (-1.0, 0.5, 2.0)]
    settings = TrainSettings(steps=100, batch_size=4, learning_rate=0.1, eval_every=50)
    history = fit(model, Line(), points, points, settings)
    assert model.weight.item() == pytest.approx(3, abs=0.1) and history.best_score > -0.5
    assert set(history.rows[-1]) == {"step", "score", "loss", "squares", "none", "learning_rate", "seconds"}


def test_a_models_own_rates_are_a_multiple_of_all_models():
    class Careful(nn.Linear):
        rate_scale = 0.25

    def trained(kind, rate):
        torch.manual_seed(0)
        model = kind(1, 1)
        history = fit(model, Line(), [(1.0, 3.0)], [(1.0, 3.0)], TrainSettings(steps=5, learning_rate=rate))
        return model.weight.item(), history.rows[0]["learning_rate"]

    assert trained(Careful, 0.4) == trained(nn.Linear, 0.1) != trained(nn.Linear, 0.4)


def test_training_to_a_step_is_that_part_of_the_whole(train, val, ever_better):
    whole, part = small(), small()
    states, rows = {}, []
    settings = TrainSettings(steps=6, batch_size=8, eval_every=2)
    fit(whole, Grounding(), train, val, settings, on_epoch=lambda row: states.update({row["step"]: whole.digest()}))
    train_until(part, Grounding(), train, settings, 3, on_epoch=rows.append)
    assert [row["step"] for row in rows] == [0, 2, 3] and not any("score" in row for row in rows)
    assert part.digest() not in states.values() and not part.training
    train_until(part := small(), Grounding(), train, settings, 4)
    assert part.digest() == states[4]
    with pytest.raises(InputError, match="0 samples to train on"):
        train_until(part, Grounding(), [], settings, 4)


def test_alignment_adds_its_weighted_term(train, val):
    model, batch = apply_strategy("read_pvla", small()), collate(train[:6])
    terms = loss_terms(model, Grounding(), batch, Alignment(gamma=0.5, mass=0.3))
    layers = alignment_states(model)
    costs = [partial_alignment_loss(z.video, z.text, z.video_mask, z.text_mask, mass=0.3) for z in layers]
    torch.testing.assert_close(terms["alignment"], 0.5 * torch.stack(costs).mean())
    assert "alignment" not in loss_terms(model, Grounding(), batch, None)
    history = fit(model, Grounding(), train, val, SHORT, alignment=Alignment())
    last = history.rows[-1]
    assert last["alignment"] > 0 and -1 <= last["other_cosine"] <= 1 and -1 <= last["own_cosine"] <= 1
    with pytest.raises(InputError, match="align"):
        loss_terms(apply_strategy("read", small()), Grounding(), batch, Alignment())


@pytest.mark.parametrize("warmup", [0.0, 0.5])
def test_with_a_warmup_the_first_step_is_the_tasks_alone(train, warmup):
    """W_up is 0 in it, so that only an alignment could move W_down, and would do so as far as the rate goes."""
    model = apply_strategy("read_pvla", small())
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    settings = TrainSettings(steps=4, batch_size=8, weight_decay=0.0, warmup=0.0)
    train_until(model, Grounding(), train, settings, 1, alignment=Alignment(gamma=1e-3, warmup=warmup))
    moved = {name: (value - before[name]).abs().max().item() for name, value in model.named_parameters()}
    assert all(far > 0.5 * settings.learning_rate for name, far in moved.items() if ".up." in name)
    down = [far for name, far in moved.items() if ".down.weight" in name]
    assert down and (max(down) == 0 if warmup else min(down) > 0.5 * settings.learning_rate)


def test_half_precision_where_it_is_asked_for(train, val):
    batch, losses = collate(train[:6]), {}
    for precision in ("auto", "fp32", "bf16"):
        model = small().eval()
        losses[precision] = sum(loss_terms(model, Grounding(), batch, precision=precision).values())
    assert losses["auto"] == losses["fp32"] != losses["bf16"], "auto is for a GPU"
    assert losses["bf16"].item() == pytest.approx(losses["fp32"].item(), rel=0.05)
    settings = replace(SHORT, precision="bf16", gradient_checkpointing=True)
    history = fit(apply_strategy("read_pvla", small()), Grounding(), train, val, settings, Alignment(contrast=1.0))
    assert history.rows[-1]["loss"] > 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"steps": 0},
        {"batch_size": 0},
        {"learning_rate": 0.0},
        {"clip_norm": -1.0},
        {"schedule": "step"},
        {"precision": "fp16"},
    ],
)
def test_bad_settings(wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        TrainSettings(**wrong)


def test_training_imports_no_heavy_package():
    heavy = "{'transformers', 'open_clip', 'peft', 'skimage'} & set(sys.modules)"
    code = f"import sys, read.train, read.adapters; assert not {heavy}, {heavy}"
    subprocess.run([sys.executable, "-c", code], check=True)
