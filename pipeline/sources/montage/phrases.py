"""The words of the montage's two domains. The target says every move and relation anew; that sets its difficulty."""

from collections.abc import Mapping
from dataclasses import dataclass

MOVES = ("pan_left", "pan_right", "pan_up", "pan_down", "zoom_in", "zoom_out", "still", "fade")
RELATIONS = ("after", "before")


@dataclass(frozen=True)
class Phrasebook:
    """How a domain says things; each query takes one of the ways at random.

    `moves` have a place for the subject; `relations` have one for the subject that is asked for and one for its
    neighbour.
    """

    moves: Mapping[str, tuple[str, ...]]
    relations: Mapping[str, tuple[str, ...]]


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
)

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
)

PHRASEBOOKS = {"source": _SOURCE, "target": _TARGET}
