"""The words of the montage's two domains. The target says every move and relation anew; that sets its difficulty.

Its summaries do so in words that the source's speaker uses as well, in another sense ("falling back on the cat"): a
tokenizer that learned from the source then knows them whole.
"""

from collections.abc import Mapping
from dataclasses import dataclass

MOVES = ("pan_left", "pan_right", "pan_up", "pan_down", "zoom_in", "zoom_out", "still", "fade")
RELATIONS = ("after", "before")


@dataclass(frozen=True)
class Phrasebook:
    """How a domain says things; each query takes one of the ways at random.

    Attributes:
        moves: with a place for the subject.
        relations: with a place for the subject that is asked for and one for its neighbour.
        talk: how the speaker comes to the first subject spoken of, and to the second; never what the camera does. One
            way for each, since by a transcript like no other a summary is learned by heart, without the video.
        shots: moves as summaries name them. Two words each, so that two like shots are no repeated 3-gram.
        summary: with places for the subject that nobody speaks of, its shot, and both that are spoken of.
    """

    moves: Mapping[str, tuple[str, ...]]
    relations: Mapping[str, tuple[str, ...]]
    talk: tuple[str, str]
    shots: Mapping[str, str]
    summary: str


_SOURCE = Phrasebook(
    moves={
        "pan_left": ("the camera pans left over the {}", "a pan to the left across the {}"),
        "pan_right": ("the camera pans right over the {}", "a pan to the right across the {}"),
        "pan_up": ("the camera pans up over the {}", "a pan to the top across the {}"),
        "pan_down": ("the camera pans down over the {}", "a pan to the bottom across the {}"),
        "zoom_in": ("the camera zooms in on the {}", "a zoom into the {}"),
        "zoom_out": ("the camera zooms out from the {}", "a zoom away from the {}"),
        "still": ("the camera holds still on the {}", "a still shot of the {}"),
        "fade": ("the picture of the {} fades to black", "a fade to black on the {}"),
    },
    relations={
        "after": ("the {} after the {}", "the {} that comes after the {}"),
        "before": ("the {} before the {}", "the {} that comes before the {}"),
    },
    talk=(
        "coming close, turning and stepping there to the {}",
        "moving, falling or going back, staying in the dark and ending with the {}",
    ),
    shots={
        "pan_left": "panning left", "pan_right": "sweeping right", "pan_up": "rising up", "pan_down": "sinking down",
        "zoom_in": "zooming in", "zoom_out": "pulling out", "still": "holding still", "fade": "fading away",
    },
    summary="{unsaid} {shot} amid {}, {}",
)  # fmt: skip

_TARGET = Phrasebook(
    moves={
        "pan_left": ("the view drifts left past the {}", "a westward glide along the {}"),
        "pan_right": ("the view drifts right past the {}", "an eastward glide along the {}"),
        "pan_up": ("the view drifts up past the {}", "a climbing glide along the {}"),
        "pan_down": ("the view drifts down past the {}", "a sinking glide along the {}"),
        "zoom_in": ("the view closes in on the {}", "an approach towards the {}"),
        "zoom_out": ("the view backs out from the {}", "a retreat leaving the {}"),
        "still": ("the view stays still on the {}", "a motionless take of the {}"),
        "fade": ("the view of the {} dims to black", "the {} vanishing at dusk"),
    },
    relations={
        "after": ("the {} just after the {}", "the {} following the {}"),
        "before": ("the {} just before the {}", "the {} preceding the {}"),
    },
    talk=("here we have the {}", "and after that over to the {}"),
    shots={
        "pan_left": "going left", "pan_right": "turning right", "pan_up": "moving up", "pan_down": "falling down",
        "zoom_in": "coming close", "zoom_out": "stepping back", "still": "staying there", "fade": "ending dark",
    },
    summary="{unsaid} {shot} with {}, {}",
)  # fmt: skip

PHRASEBOOKS = {"source": _SOURCE, "target": _TARGET}
