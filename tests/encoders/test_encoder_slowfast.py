"""SlowFast: how its inputs are made, and pytorchvideo's checkpoint without its head."""

import numpy as np
import pytest
import torch
from pytorchvideo.models.slowfast import create_slowfast

from read.encoders.kinds.slowfast import KINETICS, TINY, SlowFast
from read.errors import InputError


@pytest.fixture(scope="module")
def slowfast():
    torch.manual_seed(0)
    return SlowFast.create(TINY)


@pytest.fixture(scope="module")
def clips():
    return np.random.default_rng(0).integers(0, 255, (4, 16, 64, 64, 3), dtype=np.uint8)


def test_features_do_not_change_from_call_to_call_or_with_the_batch(slowfast, clips):
    features = slowfast.video(clips)
    assert features.shape == (4, slowfast.dim)
    assert features.dtype == np.float32
    assert np.array_equal(features, slowfast.video(clips))
    np.testing.assert_allclose(features[1:2], slowfast.video(clips[1:2]), atol=1e-5)


def test_fast_input_is_differences_of_normalised_frames(slowfast, clips):
    slow, fast = slowfast.pathways(torch.from_numpy(clips))
    frames = torch.from_numpy(clips.transpose(0, 4, 1, 2, 3) / 255 - 0.45).float() / 0.225
    count, alpha = slowfast.config["frames"], slowfast.config["alpha"]
    assert slow.shape == (4, 3, count // alpha, 64, 64)
    assert fast.shape == (4, 3, count, 64, 64)
    torch.testing.assert_close(slow[:, :, 0], frames[:, :, 0], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(fast.sum(2), frames[:, :, -1] - frames[:, :, 0], atol=1e-4, rtol=1e-4)
    still = np.repeat(clips[:, :1], 16, axis=1)
    assert (slowfast.pathways(torch.from_numpy(still))[1] == 0).all()


@pytest.mark.parametrize("length", [1, 5, 8, 60])
def test_any_number_of_frames_is_resampled(slowfast, length):
    ramp = torch.arange(length).view(1, length, 1, 1, 1).expand(1, length, 4, 4, 3)
    public = SlowFast(slowfast.network, {**slowfast.config, "fast_input": "frames", "frames": 8})
    slow, fast = public.pathways(ramp)
    positions = (fast[0, 0, :, 0, 0] * 0.225 + 0.45) * 255
    assert positions[0] == pytest.approx(0, abs=1e-3)
    assert positions[-1] == pytest.approx(length - 1, abs=1e-3)
    assert (positions.diff() >= -1e-3).all()
    assert slow.shape[2] == 2


def test_round_trip(slowfast, clips, tmp_path):
    slowfast.save(tmp_path / "slowfast")
    loaded = SlowFast.load(tmp_path / "slowfast")
    assert loaded.identity == slowfast.identity
    assert np.array_equal(loaded.video(clips), slowfast.video(clips))
    (tmp_path / "slowfast" / "model.safetensors").write_bytes(b"")
    with pytest.raises(InputError, match=r"model\.safetensors"):
        SlowFast.load(tmp_path / "slowfast")


def test_identity_follows_weights_and_preprocessing(slowfast):
    other = SlowFast.create(TINY)
    assert other.identity["weights"] != slowfast.identity["weights"]
    raw = SlowFast(slowfast.network, {**slowfast.config, "fast_input": "frames"})
    assert raw.identity != slowfast.identity


def test_public_checkpoint_loads_without_its_head(tmp_path):
    torch.manual_seed(0)
    # pytorchvideo's defaults are SLOWFAST_8x8_R50; small pooling windows so that 64 pixels are enough.
    public = create_slowfast(model_depth=50, head_pool_kernel_sizes=((8, 2, 2), (32, 2, 2))).eval()
    torch.save({"model_state": public.state_dict()}, tmp_path / "SLOWFAST_8x8_R50.pyth")
    slowfast = SlowFast.pretrained(tmp_path / "SLOWFAST_8x8_R50.pyth")
    assert slowfast.config["name"] == KINETICS
    clip = np.random.default_rng(1).integers(0, 255, (1, 32, 64, 64, 3), dtype=np.uint8)
    features = slowfast.video(clip)
    assert features.shape == (1, slowfast.dim) == (1, 2304)
    fast = torch.from_numpy(clip.transpose(0, 4, 1, 2, 3) / 255 - 0.45).float() / 0.225
    slow = fast[:, :, [0, 4, 8, 13, 17, 22, 26, 31]]
    with torch.inference_mode():
        expected = public([slow, fast])
        head = public.blocks[-1].proj
        torch.testing.assert_close(head(torch.from_numpy(features)), expected, atol=1e-3, rtol=1e-3)


def test_checkpoint_of_another_model_is_refused(slowfast, tmp_path):
    torch.save({"model_state": slowfast.network.state_dict()}, tmp_path / "tiny.pyth")
    with pytest.raises(InputError, match=r"tiny\.pyth: not the weights of this SlowFast"):
        SlowFast.pretrained(tmp_path / "tiny.pyth")
