"""Weights on disk: digests, folders, checkpoints and downloads."""

import pickle

import pytest
import torch
from torch import nn

from read.encoders.weights import (
    download,
    load_state,
    load_tensors,
    read_checkpoint,
    read_config,
    save_folder,
    state_digest,
)
from read.errors import InputError


def test_digest_tells_values_names_shapes_and_types_apart():
    state = {"a": torch.arange(6.0).view(2, 3), "b": torch.tensor(1)}
    same = {"b": torch.tensor(1), "a": torch.arange(12.0)[:6].view(2, 3)}
    others = [
        {**state, "a": state["a"] + 1e-6},
        {**state, "a": state["a"].view(3, 2)},
        {**state, "a": state["a"].double()},
        {"c": state["a"], "b": state["b"]},
        {"a": state["a"]},
    ]
    assert state_digest(same) == state_digest(state)
    assert len({state_digest(other) for other in [state, *others]}) == len(others) + 1


def test_folder_round_trip_replaces_the_old_one(tmp_path):
    for value in (1.0, 2.0):
        save_folder(tmp_path / "clip", {"a": torch.full((3,), value)}, {"name": "x", "std": [value]})
    assert load_tensors(tmp_path / "clip" / "model.safetensors")["a"].tolist() == [2.0] * 3
    assert read_config(tmp_path / "clip") == {"name": "x", "std": [2.0]}
    assert [path.name for path in tmp_path.iterdir()] == ["clip"]


def test_missing_and_damaged_folders_are_named(tmp_path):
    with pytest.raises(InputError, match=r"clip.config\.json"):
        read_config(tmp_path / "clip")
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(InputError, match=r"config\.json"):
        read_config(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"12345678901234")
    with pytest.raises(InputError, match=r"model\.safetensors"):
        load_tensors(tmp_path / "model.safetensors")


def test_states_must_fit_exactly():
    model = nn.Linear(2, 3)
    state = model.state_dict()
    wrong = [{"weight": state["weight"]}, {**state, "more": state["bias"]}, {**state, "bias": torch.zeros(4)}]
    for other in wrong:
        with pytest.raises(InputError, match="source: the weights do not fit"):
            load_state(model, other, "source")


def test_checkpoints_of_both_layouts(tmp_path):
    state = {"a": torch.ones(2)}
    for content in (state, {"model_state": state, "epoch": 3}):
        torch.save(content, tmp_path / "a.pyth")
        assert read_checkpoint(tmp_path / "a.pyth").keys() == {"a"}


def test_checkpoints_that_are_not(tmp_path):
    path = tmp_path / "a.pyth"
    with pytest.raises(InputError, match=r"a\.pyth"):
        read_checkpoint(path)
    for data in (b"<html>", b"", pickle.dumps({"a": pytest.raises}, protocol=2)):
        path.write_bytes(data)
        with pytest.raises(InputError, match=r"a\.pyth: not a checkpoint") as error:
            read_checkpoint(path)
        assert "\n" not in str(error.value)
    torch.save({"a": 1}, path)
    with pytest.raises(InputError, match="no state dict"):
        read_checkpoint(path)


def test_download_is_whole_or_absent(tmp_path):
    source, target = tmp_path / "source.bin", tmp_path / "folder" / "target.bin"
    with pytest.raises(InputError, match=r"source\.bin: cannot be downloaded"):
        download(source.as_uri(), target)
    assert not target.exists()
    source.write_bytes(b"weights")
    assert download(source.as_uri(), target).read_bytes() == b"weights"
    source.unlink()
    assert download(source.as_uri(), target).read_bytes() == b"weights", "what is there is not fetched again"
