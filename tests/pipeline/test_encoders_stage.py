"""The list of encoders: where their weights come from, as a bundle without weights names it."""

from types import SimpleNamespace

import pytest
import torch

from pipeline import paths
from pipeline.stages import encoders
from read.bundle.fetch import public_source
from read.encoders.extractor import load_encoder
from read.encoders.kinds import pann
from read.files import read_json, write_json

COMMIT = "9d5f1c8e" * 5


@pytest.mark.parametrize(
    "options, config, source, pinned, public",
    [
        ({"kind": "hf_video", "model": "a/b"}, {"commit": COMMIT}, f"a/b@{COMMIT}", True, True),
        ({"kind": "xclip", "model": "a/b@main"}, {"commit": COMMIT}, f"a/b@{COMMIT}", True, True),
        ({"kind": "ast", "model": "a/b"}, {"commit": COMMIT}, f"a/b@{COMMIT}", True, True),
        ({"kind": "clap", "model": "a/b"}, {}, "a/b", False, False),
        ({"kind": "pann"}, {}, "audioset", True, False),  # an address stands for it
        ({"kind": "hf_video", "model": "weights/mae"}, {}, "weights/mae", False, False),
        ({"kind": "clip", "model": "ViT-B-32", "pretrained": "openai"}, {"name": "ViT-B-32"}, "openai", True, True),
        ({"kind": "clip", "model": "clip_tiny"}, {"name": "clip_tiny"}, None, None, False),
    ],
)
def test_where_weights_come_from(tmp_path, monkeypatch, options, config, source, pinned, public):
    monkeypatch.chdir(tmp_path)
    write_json(paths.ENCODERS / "one/config.json", {"name": "b", "kind": options["kind"]} | config)
    (paths.ENCODERS / "one/model.safetensors").touch()
    encoders.collect(["one"], SimpleNamespace(encoders={"one": options}))
    found = read_json(paths.ENCODERS / "encoders.json")["one"]
    assert (found["pretrained"], found.get("pinned")) == (source, pinned)
    assert (public_source("one", found, found["pretrained"]) == source) is (public or source is None)


def test_one_that_hears_is_made_of_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(pann, "WIDTH", 1)
    torch.save({"model": pann.Cnn14(1).state_dict()}, "Cnn14.pth")
    options = {"ear": {"kind": "pann", "pretrained": "Cnn14.pth"}}
    settings = SimpleNamespace(encoders=options, extract=SimpleNamespace(fps=8.0), clip_len=2.0, source="none")
    encoders.make("ear", settings, tmp_path)
    assert load_encoder(paths.ENCODERS / "ear").hears.rate == 32000
    encoders.collect(["ear"], settings)
    assert read_json(paths.ENCODERS / "encoders.json")["ear"]["pinned"] is False
