"""The pretrain stage with every backbone: built from params.yaml, or loaded from a public checkpoint."""

import pytest
import torch

from pipeline.params import load_params
from pipeline.tasks.grounding import build, load_public
from read.backbones import backbone_names, build_backbone
from read.errors import InputError

DIMS = (6, 5)


@pytest.fixture
def checkpoint(tmp_path):
    torch.manual_seed(0)
    sizes = {"hidden": 16, "layers": 1, "heads": 2, "feed_forward": 16, "tef": False}
    model = build_backbone("univtg", video_dim=6, text_dim=5, **sizes)
    torch.save({"model": model.state_dict(), "opt": {"nheads": 2, "ctx_mode": "video"}}, tmp_path / "public.ckpt")
    return model, str(tmp_path / "public.ckpt")


def test_the_named_checkpoint_is_what_is_adapted(checkpoint):
    model, path = checkpoint
    loaded = load_public("univtg", path, DIMS, max_clips=40)
    assert all(torch.equal(loaded.state_dict()[name], value) for name, value in model.state_dict().items())
    assert loaded.config.max_clips == 40


def test_features_of_other_widths_are_refused(checkpoint):
    with pytest.raises(InputError, match=r"widths \(6, 5\), but those extracted have \(7, 5\)"):
        load_public("univtg", checkpoint[1], (7, 5), 75)


@pytest.mark.parametrize("backbone", backbone_names())
def test_every_backbone_is_built_from_the_same_keys(backbone):
    wanted = load_params().pretrain.grounding
    model = build(backbone, wanted, DIMS)
    config = model.config
    for name in ("hidden", "layers", "heads", "feed_forward", "dropout", "max_clips"):
        assert getattr(config, name) == getattr(wanted, name)
    assert (config.video_dim, config.text_dim, config.input_dropout) == (*DIMS, wanted.dropout)
    assert not getattr(config, "tef", False)
