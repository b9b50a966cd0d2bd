"""The quick start hides packages only where no encoder is made of them."""

import sys

import pytest

from read.encoders import light

PLAIN, SIGLIP = {"kind": "clip", "name": "ViT-B-32"}, {"kind": "clip", "name": "ViT-B-16-SigLIP"}


@pytest.mark.parametrize(
    "encoders, quick",
    [
        ({"clip": {"model": "ViT-B-32"}}, True),
        ({"one": PLAIN, "other": PLAIN}, True),
        ({"one": PLAIN, "other": SIGLIP}, False),
        ({"other": SIGLIP, "one": PLAIN}, False),
        ({"clip": {"model": "roberta-ViT-B-32"}}, False),
        ({"slowfast": {"name": "slowfast_tiny"}}, False),
    ],
)
def test_it_hides_what_none_of_the_models_needs(monkeypatch, encoders, quick):
    hidden = []
    for name in light.OPTIONAL:
        monkeypatch.delitem(sys.modules, name, raising=False)
    loads = lambda kind: hidden.append((kind, {name for name in light.OPTIONAL if sys.modules.get(name, 0) is None}))  # noqa: E731
    monkeypatch.setattr(light.ENCODERS.__class__, "load", lambda self, kind: loads(kind))
    light.import_encoders(encoders)
    assert hidden == ([("clip", set(light.OPTIONAL))] if quick else [])
    assert not set(light.OPTIONAL) & set(sys.modules)
