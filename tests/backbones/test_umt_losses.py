"""UMT's losses: targets against loops, padding, half precision, and that they can be learnt from."""

import math

import pytest
import torch
from torch import nn

from read.backbones.umt_losses import boundary_targets, centre_entropy, saliency_loss
from tests.backbones.narrow_umt import build, make_batch, run
from tests.backbones.reference import INPUTS

batch = pytest.fixture(make_batch)


def wider(tensors: dict, clips: int = 3) -> dict:
    return {name: nn.functional.pad(value, (0, 0) * (value.dim() - 2) + (0, clips), value=1) for name, value in
            tensors.items()}  # fmt: skip


def test_losses_do_not_see_padding(batch):
    model = build()
    outputs = {name: value for name, value in run(model, batch).items() if name != "states"}
    targets = {name: batch[name] for name in ("saliency", "windows", "windows_mask", "video_mask")}
    more = targets | wider({"saliency": targets["saliency"]})
    more["video_mask"] = nn.functional.pad(targets["video_mask"], (0, 3))
    narrow = model.losses(outputs, targets)
    assert narrow.keys() == {"saliency", "centre", "window", "offset"}
    for name, value in model.losses(wider(outputs), more).items():
        torch.testing.assert_close(value, narrow[name])


def test_boundary_targets_against_a_loop():
    generator = torch.Generator().manual_seed(3)
    clips = torch.tensor([40, 25, 3])
    video_mask = torch.arange(40) < clips[:, None]
    windows = torch.rand(3, 5, 2, generator=generator).sort(dim=-1).values
    windows[0, 0] = torch.tensor([5, 20]) / 40  # whole clips: a centre at 12, a radius of 2.8
    windows[2, 0] = torch.tensor([0.1, 0.5]) / 3  # shorter than a clip
    windows_mask = torch.arange(5) < torch.tensor([[5], [2], [1]])
    got = boundary_targets(windows, windows_mask, video_mask)
    assert int(got.count) == 8
    for sample in range(3):
        heat, width, offset = [0.0] * 40, [None] * 40, [None] * 40
        for start, end in windows[sample, windows_mask[sample]].tolist():
            first, last = start * float(clips[sample]), end * float(clips[sample]) - 1
            length, centre = max(0.0, last - first), max(0.0, (first + last) / 2)
            clip, radius = int(centre + 1e-4), int(0.2 * length + 1e-4)
            for n in range(max(0, clip - radius), min(40, clip + radius + 1)):
                heat[n] = max(heat[n], math.exp(-((n - clip) ** 2) / (2 * (0.2 * (radius + 1)) ** 2)))
            width[clip], offset[clip] = length, centre - clip
        torch.testing.assert_close(got.centres[sample], torch.tensor(heat))
        assert got.peaks[sample].tolist() == [value is not None for value in width]
        for wanted, values in ((width, got.windows), (offset, got.offsets)):
            kept = torch.tensor([value for value in wanted if value is not None])
            torch.testing.assert_close(values[sample][got.peaks[sample]], kept, atol=1e-4, rtol=0)
    assert float(got.offsets[0, 12]) == pytest.approx(0, abs=1e-4) and float(got.centres[0, 12]) == 1


def test_whole_clips_keep_their_centre_whatever_the_rounding():
    for clips in range(1, 76):
        mask = torch.ones(1, clips, dtype=torch.bool)
        starts = torch.arange(0, clips)
        windows = torch.stack((starts, starts + 1), dim=-1)[None].float() * 2 / (clips * 2)  # each clip, by seconds
        got = boundary_targets(windows, torch.ones(1, clips, dtype=torch.bool), mask)
        assert got.peaks.all() and float(got.offsets.abs().max()) < 1e-4


def test_centre_entropy_by_hand_and_without_overflow():
    logits, heat = torch.tensor([0.3, -0.7, 1.1]), torch.tensor([1.0, 0.6, 0.0])
    score = logits.sigmoid()
    by_hand = torch.stack((
        -((1 - score[0]) ** 2) * score[0].log(),
        -(0.4**4) * score[1] ** 2 * (1 - score[1]).log(),
        -(score[2] ** 2) * (1 - score[2]).log(),
    ))  # fmt: skip
    torch.testing.assert_close(centre_entropy(logits, heat), by_hand)
    extreme = torch.tensor([-200.0, 200.0, 200.0], requires_grad=True)
    centre_entropy(extreme, heat).sum().backward()
    assert extreme.grad.isfinite().all() and float(extreme.grad[0]) == -1


def test_nothing_to_find_is_no_nan(batch):
    model = build()
    for windows in (batch["windows"], batch["windows"][:, :0]):
        nothing = torch.zeros_like(windows[..., 0], dtype=torch.bool)
        empty = batch | {"windows": windows, "windows_mask": nothing, "saliency": torch.zeros_like(batch["saliency"])}
        outputs = model(*(batch[name] for name in INPUTS))
        losses = model.losses(outputs, empty)
        assert losses["window"] == losses["offset"] == 0 and losses["centre"] > 0
        sum(losses.values()).backward()
        assert all(value.grad is None or value.grad.isfinite().all() for value in model.parameters())


def test_the_means_of_the_saliency_loss():
    mask = torch.tensor([[True, True, True], [True, False, False]])
    logits = torch.zeros(2, 3)
    assert float(saliency_loss(logits, logits, mask, masked=True)) == pytest.approx(math.log(2))
    assert float(saliency_loss(logits, logits, mask, masked=False)) == pytest.approx(math.log(2) * 4 / 6)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_stops_before_the_losses(batch, dtype):
    model = build().eval()
    with torch.autocast("cpu", dtype):
        halved = run(model, batch)
    whole = run(model, batch)
    for name in ("spans", "scores", "saliency", "centre_logits", "saliency_logits", "window", "offset"):
        assert halved[name].dtype == torch.float32
        torch.testing.assert_close(halved[name], whole[name], atol=0.05, rtol=0.05)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_trains(batch, dtype):
    model, gradients = build(), []
    for enabled in (False, True):
        model.zero_grad()
        with torch.autocast("cpu", dtype, enabled=enabled):
            losses = model.losses(model(*(batch[name] for name in INPUTS), audio=batch["audio"]), batch)
        sum(losses.values()).backward()
        gradients.append(torch.cat([parameter.grad.flatten() for parameter in model.parameters()]))
    assert gradients[1].isfinite().all()
    assert torch.cosine_similarity(*gradients, dim=0) > 0.99


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("positions", [9, 5])
def test_a_whole_model_in_half_precision(batch, dtype, positions):
    model = build(positions=positions).eval()
    expected = run(model, batch)
    halves = {name: value.to(dtype) if value.is_floating_point() else value for name, value in batch.items()}
    got = run(model.to(dtype), halves)
    for name in ("spans", "scores", "saliency"):
        torch.testing.assert_close(got[name], expected[name], atol=0.05, rtol=0.05)


def test_a_tiny_batch_is_learnt_by_heart(batch):
    model = build()
    optimizer, history = torch.optim.Adam(model.parameters(), lr=3e-3), []
    for _ in range(150):
        optimizer.zero_grad()
        losses = model.losses(model(*(batch[name] for name in INPUTS), audio=batch["audio"]), batch)
        sum(losses.values()).backward()
        optimizer.step()
        history.append({name: value.item() for name, value in losses.items()})
    assert all(history[-1][name] < 0.7 * history[0][name] for name in ("centre", "window", "offset"))
    outputs = run(model.eval(), batch)
    ranks = outputs["saliency"].argsort(dim=1, descending=True)[:, :3]
    assert ranks.tolist() == [[2, 3, 1]] * 3
    best = outputs["spans"][1, outputs["scores"][1].argmax()] * 4
    torch.testing.assert_close(best, torch.tensor([0.5, 3.5]), atol=0.3, rtol=0)
