"""Fixtures of the encoders' tests."""

import pytest


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """The small CLIP and SlowFast with weights by chance, as the encoders' stage keeps them."""
    import torch  # here, as tests of other encoders need neither

    from read.encoders.kinds.clip import new_tiny_clip
    from read.encoders.kinds.slowfast import TINY, SlowFast

    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    new_tiny_clip().save(folder / "clip")
    SlowFast.create(TINY).save(folder / "slowfast")
    return folder
