"""The list of encoders: where their weights come from, as a bundle without weights names it."""

from types import SimpleNamespace

import pytest

from pipeline import paths
from pipeline.stages import encoders
from read.bundle.fetch import public_source
from read.files import read_json, write_json

COMMIT = "9d5f1c8e" * 5


@pytest.mark.parametrize(
    "options, config, source, pinned, public",
    [
        ({"kind": "hf_video", "model": "a/b"}, {"commit": COMMIT}, f"a/b@{COMMIT}", True, True),
        ({"kind": "xclip", "model": "a/b@main"}, {"commit": COMMIT}, f"a/b@{COMMIT}", True, True),
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
