"""What the keys of params.yaml may not say together, though each is right by itself."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from read.encoders.base import first_reader, hearing, joint_entry, reads, trained_here
from read.errors import InputError
from read.plugins import TEXT_MODELS

if TYPE_CHECKING:
    from pipeline.params import Params


def contradictions(params: "Params") -> Iterator[str]:
    """Each of them, with its key."""
    yield from _encoder_mistakes(params)
    yield from _protocol_mistakes(params)
    lists: dict[str, list] = {"task": params.task, "runs.shots": params.runs.shots, "runs.seeds": params.runs.seeds}
    for task, terms in params.train:
        lists |= {f"train.{task}.{key}": getattr(terms, key) for key in ("learning_rates", "places")}
    for key, listed in lists.items():
        if len(set(listed)) != len(listed):
            yield f"{key}: holds a value twice: {listed}"
    for task, sizes in params.pretrain:
        if sizes.hidden % sizes.heads:
            yield f"pretrain.{task}.heads: {sizes.heads} does not divide hidden {sizes.hidden}"


def _protocol_mistakes(params: "Params") -> Iterator[str]:
    transfer = params.protocol == "transfer"
    if transfer != (params.domain is not None):
        yield f"domain: is {params.domain!r}, but protocol is {params.protocol}; it is what transfer adapts to"
    if transfer and params.source != params.dataset:
        yield f"source: is {params.source!r}; transfer pretrains on the dataset's other domains: {params.dataset}"
    if not transfer and params.source == params.dataset:
        if any(_pretrains(params, task) for task in params.task):
            yield f"source: is {params.source!r} like dataset; pretraining would see the test videos"
        elif params.features == "videos" and _trains_encoders(params):
            yield (
                f"source: is {params.source!r} like dataset; the encoders that are trained here (pretrained: null) "
                "would see the test videos"
            )


def _pretrains(params: "Params", task: str) -> bool:
    """Whether a task's backbone is trained on the source, and not only scored on it, as a published one."""
    if task == "grounding":
        return params.pretrain.grounding.checkpoint is None and params.backbone.grounding != "joint"
    return params.backbone.summarization in TEXT_MODELS.names() or params.pretrain.summarization.steps > 0


def _encoder_mistakes(params: "Params") -> Iterator[str]:
    each = {entry: reads(entry, options) for entry, options in params.encoders.items()}
    encoded = {what for kinds in each.values() for what in kinds}
    try:
        hearing(each)
    except InputError as error:
        yield str(error)
    if params.features == "videos" and "frames" not in encoded:
        yield f"encoders: of {', '.join(params.encoders)}, none reads frames"
    if params.features != "videos" or "grounding" not in params.task:
        return
    if "text" not in encoded:
        yield f"encoders: of {', '.join(params.encoders)}, none reads text, by which queries are known; add clip"
    elif params.backbone.grounding == "joint" and joint_entry(params.encoders) is None:
        yield (
            f"backbone.grounding: is joint, but {first_reader(params.encoders)}, which reads the queries, has no "
            "space for frames and sentences; list clip or xclip before it"
        )
    elif params.backbone.grounding == "joint" and not params.extract.normalise:
        yield "extract.normalise: is false, but backbone.grounding is joint, which compares what is normalised"


def _trains_encoders(params: "Params") -> bool:
    """Whether any encoder learns from the source dataset."""
    return any(trained_here(entry, options) for entry, options in params.encoders.items())
