"""Weights: their digest, whether they fit, and files of them."""

import argparse
import hashlib
import os
import pickle
import struct

import pytest
import torch
from torch import nn

from read.errors import InputError
from read.files import sha256_of
from read.weights import SHOWN, check_fit, load_tensors, read_checkpoint, save_tensors, state_digest


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


def test_digest_is_the_one_that_bundles_and_sidecars_hold():
    """Written out by hand: another digest would make every stored one a stranger."""
    state = {"b": torch.tensor(3), "a": torch.tensor([[1.0, -2.0]]).T, "c": torch.tensor([1.5], dtype=torch.bfloat16)}
    text = b"a torch.float32 (2, 1)\n" + struct.pack("<2f", 1.0, -2.0) + b"b torch.int64 ()\n" + struct.pack("<q", 3)
    text += b"c torch.bfloat16 (1,)\n" + struct.pack("<f", 1.5)[2:]
    assert state_digest(state) == hashlib.sha256(text).hexdigest()


def test_weights_must_fit_exactly():
    own = nn.Linear(2, 3).state_dict()
    check_fit({**own}, own, "source", "this layer")
    state = {"more": own["bias"], "bias": torch.zeros(4)}
    message = r"^source: not the weights of this layer; missing keys: weight; unexpected keys: more; other shapes: bias"
    with pytest.raises(InputError, match=message + r" \(4,\), not \(3,\)$"):
        check_fit(state, own, "source", "this layer")
    with pytest.raises(InputError, match=r"missing keys: 0, 1, .* and 2 more$"):
        check_fit({}, {str(key): own["bias"] for key in range(SHOWN + 2)}, "source", "this layer")


def test_files_of_tensors_are_checked_as_they_are_read(tmp_path):
    path = tmp_path / "x.safetensors"
    with pytest.raises(InputError, match=r"x\.safetensors: no such file"):
        load_tensors(path)
    save_tensors({"a": torch.arange(6.0).view(2, 3).T}, path)
    digest = sha256_of(path)
    assert load_tensors(path, digest)["a"].tolist() == [[0, 3], [1, 4], [2, 5]]
    content, stat = bytearray(path.read_bytes()), path.stat()
    content[-1] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert load_tensors(path)["a"].shape == (3, 2), "only the digest tells"
    with pytest.raises(InputError, match=rf"x\.safetensors: is damaged or was changed; .* not {digest}"):
        load_tensors(path, digest)
    path.write_bytes(b"12345678901234")
    with pytest.raises(InputError, match="not a file of safetensors"):
        load_tensors(path)


@pytest.mark.parametrize("key", [None, "model", "state_dict", "model_state"])
@pytest.mark.parametrize("options", [{}, {"heads": 2}, argparse.Namespace(heads=2)])
def test_checkpoints_of_every_layout(key, options, tmp_path):
    state = {"module.a": torch.ones(2), "b.module.c": torch.zeros(1)}
    torch.save(state if key is None else {key: state, "epoch": 3, "opt": options}, tmp_path / "a.pyth")
    weights, found = read_checkpoint(tmp_path / "a.pyth")
    assert weights.keys() == {"a", "b.module.c"} and weights["a"].tolist() == [1, 1]
    assert found == ({"heads": 2} if options and key else {})


def test_checkpoints_that_are_not(tmp_path):
    path = tmp_path / "a.pyth"
    with pytest.raises(InputError, match=r"a\.pyth"):
        read_checkpoint(path)
    for data in (b"<html>", b"", pickle.dumps({"a": pytest.raises}, protocol=2)):
        path.write_bytes(data)
        with pytest.raises(InputError, match=r"a\.pyth: not a checkpoint") as error:
            read_checkpoint(path)
        assert "\n" not in str(error.value)
    for content in ({"a": 1}, {}, [torch.ones(2)], {"model": {"a": torch.ones(1), "b": "x"}}):
        torch.save(content, path)
        with pytest.raises(InputError, match="no state dict"):
            read_checkpoint(path)
    torch.save({"model": {"a": torch.ones(1)}, "opt": 3}, path)
    with pytest.raises(InputError, match='"opt" is a int'):
        read_checkpoint(path)
