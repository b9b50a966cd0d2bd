"""Folders of weights, and downloads."""

import pytest
import torch

from read.encoders.extractor import load_encoder
from read.encoders.kinds.slowfast import SlowFast
from read.encoders.weights import WEIGHTS, download, read_config, save_folder
from read.errors import InputError
from read.weights import load_tensors


def test_folder_round_trip_replaces_the_old_one(tmp_path):
    for value in (1.0, 2.0):
        save_folder(tmp_path / "clip", {"a": torch.full((3,), value)}, {"name": "x", "std": [value]})
    assert load_tensors(tmp_path / "clip" / WEIGHTS)["a"].tolist() == [2.0] * 3
    assert read_config(tmp_path / "clip") == {"name": "x", "std": [2.0]}
    assert [path.name for path in tmp_path.iterdir()] == ["clip"]


def test_missing_and_damaged_folders_are_named(tmp_path):
    with pytest.raises(InputError, match=r"clip.config\.json"):
        read_config(tmp_path / "clip")
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(InputError, match=r"config\.json"):
        read_config(tmp_path)


def test_download_is_whole_or_absent(tmp_path):
    source, target = tmp_path / "source.bin", tmp_path / "folder" / "target.bin"
    with pytest.raises(InputError, match=r"source\.bin: cannot be downloaded"):
        download(source.as_uri(), target)
    assert not target.exists()
    source.write_bytes(b"weights")
    assert download(source.as_uri(), target).read_bytes() == b"weights"
    source.unlink()
    assert download(source.as_uri(), target).read_bytes() == b"weights", "what is there is not fetched again"


def test_a_changed_byte_of_an_encoders_weights_is_noticed(tmp_path):
    folder = tmp_path / "slowfast"
    SlowFast.create("slowfast_tiny").save(folder)
    load_encoder(folder)
    path = folder / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"model\.safetensors: is damaged"):
        load_encoder(folder)
