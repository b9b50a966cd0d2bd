"""The joint space of pictures and sentences in the stages: the map that is fitted in it, and the rows that it gives.

What the map is fitted to of the source is kept beside the backbone, so that labels of the dataset join it in every run.
"""

from collections.abc import Sequence
from pathlib import Path

from pipeline import paths
from read.backbones import Backbone
from read.backbones.grounding.joint import JointBackbone, JointConfig
from read.data import Sample
from read.grounding.ridge import MapSums, fit_map


def sums_file() -> Path:
    """Where the source's sums are."""
    return paths.backbone("grounding") / "joint.safetensors"


def fit_space(model: Backbone, labelled: Sequence[Sample]) -> Backbone:
    """Fit the map of a pretrained model's joint space, if it has one, to the source and to labelled samples."""
    if model.joint_space is not None:
        fit_map(model.joint_space, MapSums.load(sums_file()), labelled)
    return model


def linear_map(like: Backbone, labelled: Sequence[Sample]) -> JointBackbone | None:
    """The map of the source and of labelled samples as a model of its own; None without a joint space.

    Args:
        like: the pretrained model, which tells where the joint space lies.
        labelled: of the dataset.
    """
    return _model(like, MapSums.load(sums_file()), labelled)


def cosine(like: Backbone) -> JointBackbone | None:
    """The encoder's own embeddings, centred by the source's means, as a model; None without a joint space."""
    return _model(like, MapSums.load(sums_file()).means_only(), ())


def _model(like: Backbone, source: MapSums, labelled: Sequence[Sample]) -> JointBackbone | None:
    config = like.config
    if not config.joint_dim:
        return None
    places = {"joint_start": config.joint_start, "joint_dim": config.joint_dim}
    model = JointBackbone(JointConfig(config.video_dim, config.text_dim, **places))
    fit_map(model.space, source, labelled)
    return model.eval()
