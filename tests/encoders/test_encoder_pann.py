"""CNN14: its spectrum by the formulas that it was published with, its weights by the published names."""

import hashlib

import numpy as np
import pytest
import torch

from read.bundle.shapes import check_encoder
from read.encoders.base import Material
from read.encoders.kinds import pann
from read.encoders.kinds.pann import BANDS, HOP, RATE, WINDOW, Cnn14, Pann
from read.errors import InputError
from read.files import write_json


def slaney(mel):
    """Hz of Slaney's mels: linear to 1 kHz, which is 15, then 27 steps to 6.4 times as high."""
    return np.where(mel < 15, mel * 200 / 3, 1000 * 6.4 ** ((mel - 15) / 27))


def bank():
    """(513, B), as librosa's documentation of `filters.mel` has it, from the published 50 to 14000 Hz."""
    top = 15 + 27 * np.log(14000 / 1000) / np.log(6.4)
    edges = slaney(np.linspace(50 * 3 / 200, top, BANDS + 2))
    bins = np.arange(WINDOW // 2 + 1)[:, None] * RATE / WINDOW
    up, down = (bins - edges[:-2]) / np.diff(edges)[:-1], (edges[2:] - bins) / np.diff(edges)[1:]
    return np.maximum(0, np.minimum(up, down)) * 2 / (edges[2:] - edges[:-2])


def levels(wave):
    """(F, B) in dB, frame by frame in float64."""
    padded = np.pad(wave.astype(float), WINDOW // 2, mode="reflect")
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW)
    frames = np.stack([padded[start : start + WINDOW] * window for start in range(0, len(wave) + 1, HOP)])
    power = np.abs(np.fft.rfft(frames)) ** 2
    return 10 * np.log10(np.maximum(power @ bank(), 1e-10))


@pytest.fixture(scope="module")
def small():
    torch.manual_seed(0)
    network = Cnn14(2)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
        if isinstance(module, torch.nn.Conv2d):
            module.weight.data *= 3  # as deep as it is, a network of small weights gives one answer to all
    return Pann(network, {"name": "cnn14", "width": 2})


@pytest.fixture(scope="module")
def waves():
    """2 s of noise, of a chirp, and of silence."""
    time = np.arange(2 * RATE) / RATE
    noise = np.random.default_rng(0).normal(size=2 * RATE) * 0.1
    return np.stack([noise, np.sin(2 * np.pi * (50 + 4000 * time) * time), 0 * time]).astype(np.float32)


def published(state):
    """As the authors' file has it: a spectrogram and a classifier as well."""
    bins = WINDOW // 2 + 1
    stft = {f"spectrogram_extractor.stft.conv_{part}.weight": torch.zeros(bins, 1, WINDOW) for part in ("real", "imag")}
    width = state["fc1.weight"].shape[0]
    head = {"fc_audioset.weight": torch.zeros(527, width), "fc_audioset.bias": torch.zeros(527)}
    return {"model": state | stft | head | {"logmel_extractor.melW": torch.from_numpy(bank()).float()}}


def test_levels_are_those_of_the_published_settings(small, waves):
    found = small.levels(torch.from_numpy(waves)).numpy()
    assert found.shape == (3, 201, 64)
    wanted = np.stack([levels(wave) for wave in waves])
    near = wanted > wanted.max((1, 2), keepdims=True) - 70  # float32 adds noise of its own to what is fainter
    np.testing.assert_allclose(found[near], wanted[near], atol=2e-3)
    assert near.mean() > 0.6
    assert (found[2] == -100).all()
    with torch.autocast("cpu", torch.bfloat16):  # the network may run in halves, but not this
        np.testing.assert_array_equal(small.levels(torch.from_numpy(waves)).numpy(), found)
    np.testing.assert_allclose(pann.mel_bank().numpy(), bank(), atol=1e-7)


def test_features(small, waves):
    features = small.sound(waves)
    assert features.shape == (3, 64) and features.dtype == np.float32 and np.isfinite(features).all()
    assert np.array_equal(features, small.sound(waves))
    np.testing.assert_allclose(features[1:2], small.sound(waves[1:2]), atol=1e-5)
    assert np.abs(features[0] - features[1]).max() > 1e-3
    shortest = np.zeros((1, round(small.hears.least * RATE)), np.float32)
    assert small.sound(shortest).shape == (1, 64)


def test_the_size_is_the_published_one():
    """80.8 million with the classifier of 527 classes (Kong et al. 2020, table VI)."""
    with torch.device("meta"):
        network = Cnn14(pann.WIDTH)
    assert sum(value.numel() for value in network.parameters()) + 527 * 2049 == pytest.approx(80_753_615, abs=0)


def test_published_weights_load_by_their_names(small, waves, tmp_path, monkeypatch):
    monkeypatch.setattr(pann, "WIDTH", 2)
    torch.save(published(small.network.state_dict()), tmp_path / "Cnn14.pth")
    loaded = Pann.make({"pretrained": str(tmp_path / "Cnn14.pth")}, Material(None, 16, tmp_path, "cpu", None))
    np.testing.assert_array_equal(loaded.sound(waves), small.sound(waves))
    assert loaded.identity == small.identity

    other = published(small.network.state_dict())
    other["model"]["logmel_extractor.melW"] = other["model"]["logmel_extractor.melW"].roll(1, 0)
    torch.save(other, tmp_path / "16k.pth")
    with pytest.raises(InputError, match=r"16k\.pth: listens at another rate or in other bands"):
        Pann.pretrained(tmp_path / "16k.pth")
    torch.save({"model": {"fc.weight": torch.zeros(3)}}, tmp_path / "other.pth")
    with pytest.raises(InputError, match=r"other\.pth: not the weights of this Cnn14; missing keys: bn0\.bias"):
        Pann.pretrained(tmp_path / "other.pth")


def test_what_is_downloaded_has_the_published_digest(small, tmp_path, monkeypatch):
    torch.save(published(small.network.state_dict()), tmp_path / "served.pth")
    content = (tmp_path / "served.pth").read_bytes()
    monkeypatch.setattr(pann, "WIDTH", 2)
    monkeypatch.setattr(pann, "download", lambda address, path: path.write_bytes(content))
    with pytest.raises(InputError, match=r"not the published file: its md5 is [0-9a-f]{32}, not 541141fa"):
        Pann.make({"pretrained": "audioset"}, Material(None, 16, tmp_path, "cpu", None))
    assert not (tmp_path / "Cnn14_mAP%3D0.431.pth").exists()
    monkeypatch.setattr(pann, "MD5", hashlib.md5(content).hexdigest())
    assert Pann.make({"pretrained": "audioset"}, Material(None, 16, tmp_path, "cpu", None)).dim == 64


def test_round_trip(small, waves, tmp_path):
    small.save(tmp_path / "pann")
    loaded = Pann.load(tmp_path / "pann")
    assert loaded.identity == small.identity
    np.testing.assert_array_equal(loaded.sound(waves), small.sound(waves))
    check_encoder("pann", tmp_path / "pann")
    write_json(tmp_path / "pann/config.json", {"name": "cnn14", "width": 4})
    with pytest.raises(InputError, match="other shapes"):
        check_encoder("pann", tmp_path / "pann")
    (tmp_path / "pann/model.safetensors").write_bytes(b"")
    with pytest.raises(InputError, match=r"model\.safetensors"):
        Pann.load(tmp_path / "pann")
