"""Moments that only the sound tells apart, from video files to predictions."""

import subprocess
from dataclasses import replace

import numpy as np
import pytest
import torch

from read.backbones import build_backbone
from read.data import Annotation, FeatureStore, make_samples, write_shard
from read.data.features import text_arrays
from read.encoders.extractor import Extractor, ExtractorSettings
from read.encoders.kinds.clip import new_tiny_clip
from read.encoders.kinds.pann import Cnn14, Pann
from read.encoders.program import ffmpeg_binary
from read.grounding.inference import predict
from read.grounding.task import Grounding
from read.train import TrainSettings, train_until

pytestmark = [pytest.mark.video, pytest.mark.slow]
RATE, CLIPS, VIDEOS, TRAINED = 16000, 8, 20, 14
QUERY, PITCHES = "a high tone", (2500, 300)  # the one that is asked for, and another
EARS = {"audio_dim": 64, "sound_start": 0, "sound_dim": 64}
FFMPEG = [ffmpeg_binary(), "-v", "error", "-y"]


def trained_ear():
    """A narrow CNN14 that has learned in a second how high a tone is, of tones that no query asks for as well."""
    torch.manual_seed(0)
    network, classes = Cnn14(2), torch.arange(5).repeat(4)
    ear, head = Pann(network, {"name": "cnn14", "width": 2}), torch.nn.Linear(64, 5)
    time = torch.arange(2 * RATE) / (2 * RATE)
    waves = 0.3 * torch.sin(2 * torch.pi * torch.tensor([0, 300, 1000, 2500, 6000])[classes, None] * time)
    optimizer = torch.optim.Adam([*network.parameters(), *head.parameters()], 1e-2)
    network.train()
    for _ in range(30):
        levels = ear.levels(waves + 0.05 * torch.randn(waves.shape))
        loss = torch.nn.functional.cross_entropy(head(network(levels)), classes)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    network.eval()
    return ear


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Grey videos of 16 s, each with noise and, somewhere, two clips of either tone. They are cut from one file."""
    folder, draw = tmp_path_factory.mktemp("ear"), np.random.default_rng(0)
    time = np.arange(2 * CLIPS * RATE) / RATE
    waves, labels = [], []
    for number in range(VIDEOS):
        wave = 0.05 * draw.normal(size=len(time))
        starts = draw.permutation(range(0, CLIPS, 2))[:2].tolist()
        for start, pitch in zip(starts, PITCHES, strict=True):
            inside = (time >= 2 * start) & (time < 2 * start + 4)
            wave += 0.3 * inside * np.sin(2 * np.pi * pitch * time)
        window, clips = (2.0 * starts[0], 2.0 * starts[0] + 4), (starts[0], starts[0] + 1)
        labels.append(Annotation(number, QUERY, f"v{number}", 2.0 * CLIPS, (window,), clips, ((4.0,), (4.0,))))
        waves.append(wave)
    grey = ["-f", "lavfi", "-i", f"color=gray:s=64x64:r=8:d={2 * CLIPS * VIDEOS}"]
    sound = ["-f", "f32le", "-ar", str(RATE), "-ac", "1", "-i", "pipe:"]
    command = [*FFMPEG, *grey, *sound, "-c:v", "libx264", "-c:a", "pcm_s16le", folder / "all.mkv"]
    subprocess.run(command, check=True, input=np.concatenate(waves).astype("<f4").tobytes())

    torch.manual_seed(0)
    new_tiny_clip().save(folder / "encoders/clip")
    trained_ear().save(folder / "encoders/pann")
    extractor = Extractor(ExtractorSettings(), folder / "encoders", names=["pann", "clip"])
    found = extractor.video(folder / "all.mkv")
    assert found.told == ""
    arrays = {
        f"{name}/v{number}": part
        for name, rows in found.arrays.items()
        for number, part in enumerate(np.split(rows, VIDEOS))
    }
    write_shard(folder / "features", "000", arrays, extractor.spec)
    texts = text_arrays(range(VIDEOS), *extractor.read([QUERY] * VIDEOS))
    write_shard(folder / "features", "text", texts, extractor.spec)
    return FeatureStore(folder / "features"), labels


def right(samples):
    """The share of queries about videos it has not seen whose best window lies mostly in the moment."""
    torch.manual_seed(0)
    width, words = samples[0].clips.shape[-1], samples[0].words.shape[-1]
    sizes = {"hidden": 32, "heads": 4, "feed_forward": 64, "layers": 1, "positions": 16}
    rates = {"dropout": 0.0, "input_dropout": 0.0, "text_dropout": 0.0}
    model = build_backbone("umt", video_dim=width, text_dim=words, **sizes, **rates, **EARS)
    settings = TrainSettings(steps=60, batch_size=TRAINED, learning_rate=3e-3)
    train_until(model, Grounding(), samples[:TRAINED], settings, settings.steps)
    hits = []
    for row, sample in zip(predict(model, samples[TRAINED:]), samples[TRAINED:], strict=True):
        (start, end, _), (first, last) = row["pred_relevant_windows"][0], sample.label.windows[0]
        hits.append(max(0, min(end, last) - max(start, first)) >= 0.5 * (max(end, last) - min(start, first)))
    return np.mean(hits)


def test_umt_finds_by_ear_what_looks_the_same(store):
    features, labels = store
    assert features.sound == slice(0, 64) and features.video("v0").shape == (CLIPS, 128)
    looks = features.video("v0")[:, 64:]
    torch.testing.assert_close(looks, looks[:1].expand_as(looks), atol=1e-4, rtol=0)
    samples = make_samples(labels, features, 2.0)
    assert right(samples) >= 0.8
    # All that it can know without ears is when moments are: at one of four places.
    hushed = [replace(each, clips=torch.cat((torch.zeros(CLIPS, 64), each.video[:, 64:]), 1)) for each in samples]
    assert right(hushed) <= 0.5
