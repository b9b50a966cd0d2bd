"""What tests draw at random depends on no other test: workers share them out otherwise each time."""

import random
import zlib

import pytest
import torch


def drawn(name):
    """What is drawn first under a name."""
    seed = zlib.crc32(name.encode())
    return random.Random(seed).random(), torch.rand(1, generator=torch.Generator().manual_seed(seed)).item()


@pytest.fixture(scope="module")
def dice():
    return random.random(), torch.rand(1).item()


@pytest.mark.parametrize("turn", [1, 2])
def test_fixtures_and_tests_draw_by_their_names(request, dice, turn):
    assert dice == drawn("dice")
    assert (random.random(), torch.rand(1).item()) == drawn(request.node.nodeid)
