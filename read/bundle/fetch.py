"""Public weights of encoders, for bundles that were packed without them."""

import tempfile
from pathlib import Path

from read.addresses import HIDDEN, without_secrets
from read.bundle.folder import ENCODERS, MODEL, Bundle, differences
from read.encoders.extractor import Extractor, ExtractorSettings
from read.encoders.kinds.clip import Clip, get_pretrained_cfg
from read.encoders.kinds.slowfast import KINETICS, KINETICS_URL, SlowFast
from read.encoders.weights import download
from read.errors import InputError


def public_source(encoder: str, name: str, pretrained: str | None) -> str | None:
    """Where anybody can have the weights: a tag of open_clip's for CLIP, an address for SlowFast; else None.

    Args:
        encoder: "clip" or "slowfast".
        name: of the model.
        pretrained: what params.yaml says; a file of this machine is nowhere else.
    """
    if pretrained is None or HIDDEN in without_secrets(pretrained):
        return None
    if encoder == "clip":
        return pretrained if get_pretrained_cfg(name, pretrained) else None
    address = KINETICS_URL if pretrained == "kinetics" else pretrained
    return address if name == KINETICS and address.startswith("https://") else None


def fetch(folder: str | Path) -> None:
    """Download the encoders' weights that a bundle names, into it.

    Raises:
        InputError: they cannot be had, or are not those that the models were trained behind.
    """
    bundle = Bundle.open(folder)
    for name, source in bundle.config["encoders"].items():
        place = bundle.folder / "encoders" / name
        if name not in ENCODERS or all((place / file).is_file() for file in MODEL):
            continue
        model = bundle.features["encoders"][name]["name"]
        if public_source(name, model, source) is None:
            raise InputError(f"{bundle.folder}: {source!r} is no public source of weights for {name} {model}")
        if name == "clip":
            Clip.pretrained(model, source).save(place)
        else:
            with tempfile.TemporaryDirectory() as room:
                SlowFast.pretrained(download(source, Path(room, "checkpoint"))).save(place)
    settings = ExtractorSettings(bundle.features["fps"], bundle.features["clip_len"])
    if found := differences(Extractor(settings, bundle.weights()).spec, bundle.features):
        raise InputError(f"{bundle.folder / 'encoders'}: other weights than those of training: {'; '.join(found)}")
