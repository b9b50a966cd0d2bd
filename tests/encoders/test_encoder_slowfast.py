"""SlowFast: its inputs, its network against the paper's formulas, and the published checkpoint without its head."""

import hashlib

import numpy as np
import pytest
import torch
from torch.nn import functional

from read.encoders.base import Wants
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


def convolved(states, state, key, norm, stride=(1, 1, 1), active=True):
    """A convolution that keeps the size but for its stride, a norm over the batches seen so far, and a rectifier."""
    weight = state[f"{key}.weight"]
    states = functional.conv3d(states, weight, stride=stride, padding=[side // 2 for side in weight.shape[2:]])
    seen = [state[f"{norm}.{name}"] for name in ("running_mean", "running_var", "weight", "bias")]
    states = functional.batch_norm(states, *seen)
    return states.relu() if active else states


def features_by_formula(state, slow, fast, stride, alpha=4):
    """Section 3 and table 1 of the paper, from a state dict alone."""
    paths = [slow, fast]
    for part in range(5):
        for number in range(2):
            key = f"blocks.{part}.multipathway_blocks.{number}"
            if part == 0:
                found = convolved(paths[number], state, f"{key}.conv", f"{key}.norm", (1, stride, stride))
                paths[number] = functional.max_pool3d(found, (1, 3, 3), (1, 2, 2), (0, 1, 1))
                continue
            blocks = {name.split(".")[5] for name in state if name.startswith(f"{key}.res_blocks")}
            for block in range(len(blocks)):
                at, given = f"{key}.res_blocks.{block}", paths[number]
                step = (1, 2, 2) if part > 1 and block == 0 else (1, 1, 1)
                inner = convolved(given, state, f"{at}.branch2.conv_a", f"{at}.branch2.norm_a")
                inner = convolved(inner, state, f"{at}.branch2.conv_b", f"{at}.branch2.norm_b", step)
                inner = convolved(inner, state, f"{at}.branch2.conv_c", f"{at}.branch2.norm_c", active=False)
                if f"{at}.branch1_conv.weight" in state:
                    given = convolved(given, state, f"{at}.branch1_conv", f"{at}.branch1_norm", step, active=False)
                paths[number] = (given + inner).relu()
        if part < 4:
            key = f"blocks.{part}.multipathway_fusion"
            told = convolved(paths[1], state, f"{key}.conv_fast_to_slow", f"{key}.norm", (alpha, 1, 1))
            paths[0] = torch.cat([paths[0], told], 1)
    return torch.cat([path.mean((2, 3, 4)) for path in paths], 1)


def shaken(network):
    """Weights by chance of which none begins as 0 or 1, as blocks do."""
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            if "running_var" in name or ("norm" in name and "weight" in name):
                tensor.uniform_(0.5, 1.0)
            elif "norm" in name and tensor.is_floating_point():
                tensor.normal_(0, 0.1)
    return network.eval()


def test_the_network_is_that_of_the_paper():
    torch.manual_seed(0)
    slowfast = SlowFast.create(TINY)
    state = shaken(slowfast.network).state_dict()
    slow, fast = torch.randn(2, 3, 2, 64, 64), torch.randn(2, 3, 8, 64, 64)
    with torch.inference_mode():
        found, wanted = slowfast.network(slow, fast), features_by_formula(state, slow, fast, 4)
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)
    assert found.shape == (2, slowfast.dim) and wanted.std() > 0.01


def test_public_checkpoint_loads_without_its_head(tmp_path):
    torch.manual_seed(0)
    state = shaken(SlowFast.create(KINETICS).network).state_dict()
    # Of the names and shapes that pytorchvideo 0.1.5 gives to SLOWFAST_8x8_R50, in their order.
    listed = "\n".join(f"{key} {tuple(tensor.shape)}" for key, tensor in state.items())
    assert (
        hashlib.sha256(listed.encode()).hexdigest()
        == "06470510d3c5431ba05448bb474e316ea80dc48e3ebb06e26048471c01180fa8"
    )
    head = {"blocks.6.proj.weight": torch.ones(400, 2304), "blocks.6.proj.bias": torch.ones(400)}
    torch.save({"model_state": state | head}, tmp_path / "SLOWFAST_8x8_R50.pyth")
    slowfast = SlowFast.pretrained(tmp_path / "SLOWFAST_8x8_R50.pyth")
    assert slowfast.wants == Wants(256, frames=32) and slowfast.config["name"] == KINETICS
    assert SlowFast.wanted({"pretrained": "kinetics", "size": 224}) == Wants(224, frames=32)
    clip = np.random.default_rng(1).integers(0, 255, (1, 32, 32, 32, 3), dtype=np.uint8)
    features = slowfast.video(clip)
    assert features.shape == (1, slowfast.dim) == (1, 2304)
    fast = torch.from_numpy(clip.transpose(0, 4, 1, 2, 3) / 255 - 0.45).float() / 0.225
    slow = fast[:, :, [0, 4, 8, 13, 17, 22, 26, 31]]
    with torch.inference_mode():
        np.testing.assert_allclose(features, features_by_formula(state, slow, fast, 2), atol=1e-5, rtol=1e-4)


def test_checkpoint_of_another_model_is_refused(slowfast, tmp_path):
    torch.save({"model_state": slowfast.network.state_dict()}, tmp_path / "tiny.pyth")
    with pytest.raises(InputError, match=r"tiny\.pyth: not the weights of this SlowFast"):
        SlowFast.pretrained(tmp_path / "tiny.pyth")
