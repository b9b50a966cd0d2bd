from types import SimpleNamespace

import pytest
import torch

from pipeline.pretrain import load_public
from read.backbones import build_backbone
from read.errors import InputError


@pytest.fixture
def checkpoint(tmp_path):
    torch.manual_seed(0)
    sizes = {"hidden": 16, "layers": 1, "heads": 2, "feed_forward": 16, "tef": False}
    model = build_backbone("univtg", video_dim=6, text_dim=5, **sizes)
    torch.save({"model": model.state_dict(), "opt": {"nheads": 2, "ctx_mode": "video"}}, tmp_path / "public.ckpt")
    return model, SimpleNamespace(backbone="univtg", checkpoint=str(tmp_path / "public.ckpt"))


def test_the_named_checkpoint_is_what_is_adapted(checkpoint):
    model, wanted = checkpoint
    loaded = load_public(wanted, (6, 5)).state_dict()
    assert all(torch.equal(loaded[name], value) for name, value in model.state_dict().items())


def test_features_of_other_widths_are_refused(checkpoint):
    with pytest.raises(InputError, match=r"widths \(6, 5\), but those extracted have \(7, 5\)"):
        load_public(checkpoint[1], (7, 5))
