"""What stages before the report wrote, as it reads them: scores of runs and references, and where they came from."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, NonNegativeInt

Metrics = dict[str, FiniteFloat]  # flat metric name -> value, percent but for the task's `scales`
ByKind = dict[str, FiniteFloat]  # kind of sample -> percent
Share = Annotated[FiniteFloat, Field(ge=0, le=1)]


class VideoScores(BaseModel):
    """Scores of the samples of one kind that a test video has."""

    vid: str
    kind: str = ""
    samples: Annotated[int, Field(ge=1)]
    scores: Metrics


class Reference(BaseModel):
    """Scores of a row without a model, such as random and oracle, and what looks wrong in its predictions.

    `discrimination`: of pairs of a true moment and one that looks like it, the share that ranks the true one higher.
    """

    scores: Metrics
    by_kind: dict[str, Metrics] = {}
    by_video: list[VideoScores] = []
    warnings: list[str] = []
    discrimination: ByKind = {}


class SourceScores(BaseModel):
    """What the backbone reached on the source: its `discrimination` by side, `source_train` and `source_val`."""

    discrimination: dict[str, ByKind] = {}


class GridPoint(BaseModel):
    """One learning rate that was tried, with the validation score that it reached."""

    learning_rate: float
    score: FiniteFloat | None  # None: the run diverged


class AlignmentCosine(BaseModel):
    """Mean cosine of a sentence's states with those of its own video, and with those of other samples' videos."""

    own: FiniteFloat
    other: FiniteFloat


class Run(Reference):
    """One strategy at one number of labelled videos (`shots`) and one seed; `share` is trainable / total.

    `train_videos` is how many videos trained: `shots` may count for each kind, and a video may have no features.
    `protocol` names how sides were drawn and steps chosen; `optimistic`: the choice looked at the test side.
    `untuned`: the state before training was kept; `gain` is that of the best step where it was chosen, `gain_se` its
    standard error over videos, `folds` those that chose, 0 where a validation side did. `places` are the kinds of
    places that train, `size` the option that says how large the strategy is, `budget` the number of parameters that it
    was set to reach. `at_edge`: the chosen rate is at an end of the grid; `still_rising`: the last look was better than
    the one before by more than its standard error.
    """

    strategy: str
    shots: NonNegativeInt
    seed: int
    backbone: str
    trainable: NonNegativeInt
    total: NonNegativeInt
    share: Share
    adapter_bytes: NonNegativeInt
    learning_rate: float | None = None
    grid: list[GridPoint] = []
    steps: NonNegativeInt
    best_step: NonNegativeInt
    n_samples: NonNegativeInt
    n_videos: NonNegativeInt
    train_videos: NonNegativeInt | None = None
    protocol: str | None = None
    optimistic: bool = False
    untuned: bool = False
    gain: FiniteFloat | None = None
    gain_se: FiniteFloat | None = None
    folds: NonNegativeInt = 0
    places: list[str] = []
    budget: NonNegativeInt | None = None
    size: dict[str, int] | None = None
    at_edge: bool = False
    still_rising: bool = False
    alignment_cosine: AlignmentCosine | None = None

    @property
    def untouched(self) -> bool:
        """Whether there was training, and the model is as it was before."""
        return self.trainable > 0 and (self.untuned or self.best_step == 0)

    @property
    def at_last_step(self) -> bool:
        """Whether there was training, and its last step was the best: it might have gone on to rise."""
        return self.trainable > 0 and self.best_step == self.steps

    @property
    def cut_short(self) -> bool:
        """Whether a wider grid or more steps might have lifted it."""
        return self.at_edge or self.still_rising or self.at_last_step


class Dataset(BaseModel):
    """What a dataset says of itself: the name to show, and whether its features or videos were made up."""

    name: str | None = None
    synthetic: bool = False


class Provenance(BaseModel):
    """Where the numbers come from; what is absent is shown as not recorded."""

    model_config = ConfigDict(extra="forbid")

    params: dict = {}
    data: dict[str, str] = {}  # path -> digest
    commit: str | None = None
    dirty: bool = False
    packages: dict[str, str] = {}
    device: str | None = None
