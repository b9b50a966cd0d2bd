"""Features that are read when they are asked for."""

from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from read.data import Annotation, FeatureStore, collate, make_samples, write_shard
from read.data.features import text_arrays
from read.data.joined import join
from read.data.lazy import Cache, Lazy, joined, read
from read.data.pieces import pieces
from read.errors import InputError

SPEC = {"encoders": {"clip": {}}, "clip_len": 2.0}


def counted(tensor, reads):
    def get():
        reads.append(len(tensor))
        return tensor

    return Lazy(tuple(tensor.shape), get)


@given(st.lists(st.integers(1, 5), min_size=1, max_size=4), st.data())
def test_cut_and_joined_as_tensors_are_and_read_at_the_end_only(lengths, data):
    tensors = [torch.randn(length, 3) for length in lengths]
    whole, reads = torch.cat(tensors), []
    start = data.draw(st.integers(0, len(whole)))
    stop = data.draw(st.integers(start, len(whole)))
    inner = data.draw(st.integers(0, stop - start))
    lazy = joined([counted(tensor, reads) for tensor in tensors])[start:stop][:inner]
    assert reads == []
    expected = whole[start:stop][:inner]
    assert len(lazy) == len(expected) and lazy.shape == expected.shape
    assert torch.equal(read(lazy), expected)
    assert reads == lengths


def test_a_cache_keeps_what_was_asked_for_last_and_no_more_than_it_may():
    made = []

    def make(key, floats):
        made.append(key)
        return torch.full((floats,), float(key))

    cache = Cache(limit=4 * 30)
    for key in (1, 2, 3, 1, 4, 1, 2):
        assert cache.get(key, partial(make, key, 10))[0] == key
    assert made == [1, 2, 3, 4, 2]  # 2 went for 4: 1 was asked for since
    assert cache.held == 4 * 30
    cache.get(5, partial(make, 5, 100))
    assert cache.held == 4 * 100  # more than it may, but there is no less of it


@pytest.fixture
def store(tmp_path):
    rng = np.random.default_rng(0)
    for shard in range(3):
        write_shard(tmp_path, f"00{shard}", {f"clip/v{shard}": rng.normal(size=(6 + shard, 4))}, SPEC)
    write_shard(tmp_path, "text", text_arrays(range(3), rng.normal(size=(3, 2, 5))), SPEC)
    return tmp_path


def test_samples_read_nothing_until_they_are_a_batch(store, monkeypatch):
    features = FeatureStore(store)
    taken, tensor = [], features._files.tensor
    monkeypatch.setattr(features._files, "tensor", lambda path, key: taken.append(key) or tensor(path, key))
    labels = [Annotation(n % 3, "q", f"v{n % 3}", 12.0, ((0.0, 2.0),), (), ()) for n in range(6)]
    samples = make_samples(labels, features, 2.0)
    whole = join(samples[:2], 1)
    cut = pieces(whole, 5)[1]
    assert [len(sample.clips) for sample in samples[:3]] == [6, 7, 8] and len(whole.clips) == 13
    assert taken == []
    batch = collate([*samples, whole, cut.sample])
    assert sorted(taken) == [f"clip/v{n}" for n in range(3)] + [f"tokens/{n}" for n in range(3)]  # each of them once
    assert torch.equal(batch["video"][1, :7], features.video("v1"))
    assert torch.equal(batch["video"][6], torch.cat([features.video("v0"), features.video("v1")]))
    assert torch.equal(batch["video"][7, :5], batch["video"][6, cut.start : cut.start + 5])


def test_a_shard_that_is_replaced_meanwhile_is_refused(store):
    features = FeatureStore(store)
    features.video("v0")
    write_shard(store, "001", {"clip/v1": np.ones((6, 4))}, SPEC)
    with pytest.raises(InputError, match=r"001.safetensors: was replaced while it was read; start again"):
        features.video("v1")
