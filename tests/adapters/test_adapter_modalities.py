"""What tokens are by the ids of a model, without the model."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from read.adapters.modalities import compact, ids_of, tells, told
from read.adapters.segments import lay_out_chains
from read.errors import InputError

PICTURE, FRAME, MARK, PAD = 90, 91, 92, 0


class Model(nn.Module):
    def __init__(self, merge=1, **ids):
        super().__init__()
        vision = SimpleNamespace(spatial_merge_size=merge)
        ids = ids or {"image_token_id": PICTURE, "video_token_index": FRAME, "start_token_id": MARK}
        self.config = SimpleNamespace(vision_config=vision, **ids)

    def forward(self, input_ids, attention_mask=None):
        return input_ids


def read(text, merge=1, **given):
    """`told` of lines of p (picture), f (frame), m (mark), . (padding) and words."""
    ids = {"p": PICTURE, "f": FRAME, "m": MARK, ".": PAD}
    tokens = torch.tensor([[ids.get(sign, 5) for sign in line] for line in text.split()])
    given = {"input_ids": tokens, "attention_mask": tokens != PAD, "pixel_values": torch.ones(1)} | given
    return told(Model(merge), given, given.pop("past", 0))


def chains_of(found):
    """Each line's sequences by letters, in the order in which they come up over all lines; words are -."""
    letters, lines = {}, []
    for row, line in enumerate(found.chains.tolist()):
        lines.append(
            "".join("-" if chain == row else letters.setdefault(chain, chr(97 + len(letters))) for chain in line)
        )
    assert found.chains.max() < len(found.chains) + len(letters)
    return " ".join(lines)


def prompt_of(found):
    return " ".join("".join("x" if part else "-" for part in line) for line in found.prompt.tolist())


def test_ids_are_found_under_both_names():
    assert ids_of(Model()) == {"image": PICTURE, "video": FRAME} and tells(Model())
    assert ids_of(Model(image_token_index=3)) == {"image": 3}
    assert not tells(nn.Linear(2, 2)) and not tells(Model(pad_token_id=3))


@pytest.mark.parametrize(
    ("text", "given", "chains"),
    [
        ("wffffww ..ffwff", {"video_grid_thw": [[2, 1, 2], [2, 2, 1]]}, "-abab-- --cd-cd"),  # time stamps between
        ("wffwffw", {"video_grid_thw": [[1, 1, 2], [1, 1, 2]]}, "-ab-cd-"),  # two videos
        ("wffffw", {"video_grid_thw": [[2, 2, 4]], "merge": 2}, "-abab-"),
        ("wffffw", {"video_grid_thw": [[2, 2, 4]], "video_merge_sizes": [2]}, "-abab-"),
        ("wfffw", {"video_grid_thw": [[2, 1, 2]], "video_compression_mask": [1, 1, 0, 1]}, "-abb-"),  # a place left out
        ("wppwppw", {"image_grid_thw": [[1, 1, 2], [1, 1, 2]]}, "-ab-ab-"),  # pictures in a row are frames
        ("wppwpw", {"image_grid_thw": [[1, 1, 2], [1, 1, 1]]}, "-ab-c-"),  # not so of another size
        ("wppwppw .wppwpp", {}, "-ab-ab- --cd-cd"),  # runs, where nothing is told
        ("wppwpwpw", {}, "-ab-c-c-"),
        ("wppwpw", {"image_grid_thw": [[1, 1, 2]]}, "-ab-c-"),  # a grid of others
        ("wppwffff", {"video_grid_thw": [[2, 1, 2]], "image_grid_thw": [[1, 1, 2]]}, "-ab-cdcd"),
        ("wffffww wwffff.", {"pixel_values_videos": (2, 2, 3, 4, 4)}, "-abab-- --cdcd-"),
        ("wfffffw wfffffw", {"pixel_values_videos": (2, 2, 3, 4, 4)}, "-ababa- -cdcdc-"),  # with a token at the end
    ],
)  # fmt: skip
def test_places_are_chained_over_time(text, given, chains):
    given = {key: torch.ones(value) if key.startswith("pixel") else value for key, value in given.items()}
    given = {key: torch.tensor(value) if isinstance(value, list) else value for key, value in given.items()}
    found = read(text, **given)
    assert chains_of(found) == chains
    assert found.video.tolist() == [[sign in "pf" for sign in line] for line in text.split()]


def test_words_to_align_are_the_prompts():
    labels = torch.full((2, 9), -100)
    labels[:, -2:] = 5
    grid = torch.tensor([[2, 1, 2], [1, 1, 2]])
    found = read("wmffwffww ..wmffmww", video_grid_thw=grid, labels=labels)
    assert prompt_of(found) == "x-------- --x------"
    assert prompt_of(read("wmffwffww", video_grid_thw=grid[:1])) == "x------xx"


def test_ids_without_pictures_are_words():
    assert read("wfpw", pixel_values=None) is None
    assert read("wwww") is None


def test_what_does_not_fit_is_told():
    with pytest.raises(
        InputError, match="Model: 3 tokens of videos in input_ids, but what is told of their frames is of 4"
    ):
        read("wfffw", video_grid_thw=torch.tensor([[2, 1, 2]]))
    with pytest.raises(InputError, match="pictures in a call that goes on from a cache"):
        read("wpw", past=3)
    with pytest.raises(InputError, match="7 tokens of videos in input_ids, but what is told of their frames is of 6"):
        read("wfffw. wffffw", pixel_values_videos=torch.ones(2, 3, 3, 4, 4))
    assert read("wfw", past=3, video_grid_thw=torch.tensor([[1, 1, 1]])) is not None  # a video is whole in one call


def test_sequences_among_each_other_are_dealt_and_gathered():
    chains = torch.tensor([[0, 2, 3, 0, 2, 3, 0], [1, 1, 4, 1, 4, 1, 1]])
    real = torch.tensor([[0, 1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 1, 1, 0]]).bool()
    layout = lay_out_chains(chains, real)
    tokens = torch.arange(14.0).view(2, 7, 1)
    rows = layout.deal(tokens)[..., 0]
    assert layout.lengths.tolist() == [2, 4, 2, 2, 2] and layout.lasting == 2
    assert [row[:n].tolist() for row, n in zip(rows, layout.lengths, strict=True)] == [
        [3, 6], [7, 8, 10, 12], [1, 4], [2, 5], [9, 11],
    ]  # fmt: skip
    assert not rows[~layout.real].any()
    assert torch.equal(layout.gather(rows[..., None])[real], tokens[real])
    state = layout.taken_up((torch.ones(2, 3),))
    assert state[0].tolist() == [[1.0] * 3] * 2 + [[0.0] * 3] * 3
    assert layout.left(state)[0].tolist() == [[1.0] * 3] * 2


def test_tokens_of_a_mask_are_put_together():
    tokens, mask = torch.arange(6.0).view(2, 3, 1), torch.tensor([[0, 1, 1], [0, 0, 1]]).bool()
    kept, real = compact(tokens, mask)
    assert kept[real].flatten().tolist() == [1, 2, 5] and real.tolist() == [[True, True], [True, False]]
