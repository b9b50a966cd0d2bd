"""Public weights of encoders, for bundles that were packed without them."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from read.addresses import HIDDEN, without_secrets
from read.bundle.folder import MODEL, Bundle, differences
from read.encoders.base import kind_of
from read.encoders.extractor import Extractor, ExtractorSettings
from read.errors import InputError
from read.plugins import ENCODERS


def public_source(encoder: str, identity: Mapping[str, Any], pretrained: str | None) -> str | None:
    """Where anybody can have an encoder's weights, as its kind knows it; None: nowhere.

    Args:
        encoder: its name.
        identity: what the features' spec says of it: `name` of the model, and its kind where it is named differently.
        pretrained: what params.yaml says; a file of this machine is nowhere else.
    """
    if pretrained is None or HIDDEN in without_secrets(pretrained):
        return None
    return ENCODERS.load(kind_of(encoder, identity)).public(identity["name"], pretrained)


def fetch(folder: str | Path) -> None:
    """Download the encoders' weights that a bundle names, into it.

    Raises:
        InputError: they cannot be had, or are not those that the models were trained behind.
    """
    bundle = Bundle.open(folder)
    for name, source in bundle.config["encoders"].items():
        place = bundle.folder / "encoders" / name
        if name not in bundle.encoders or all((place / file).is_file() for file in MODEL):
            continue
        identity = bundle.features["encoders"][name]
        kind, model = kind_of(name, identity), identity["name"]
        if public_source(name, identity, source) is None:
            raise InputError(f"{bundle.folder}: {source!r} is no public source of weights for {name} {model}")
        with tempfile.TemporaryDirectory() as room:
            encoder = ENCODERS.load(kind).fetch(identity, source, Path(room))
            encoder.config |= {"kind": kind} if kind != name else {}
            encoder.save(place)
    wanted = bundle.features
    settings = ExtractorSettings(wanted["fps"], wanted["clip_len"], normalise=wanted.get("normalise", True))
    if found := differences(Extractor(settings, bundle.weights(), names=bundle.encoders).spec, bundle.features):
        raise InputError(f"{bundle.folder / 'encoders'}: other weights than those of training: {'; '.join(found)}")
