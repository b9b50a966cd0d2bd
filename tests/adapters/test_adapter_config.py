import json

import pytest

from read.adapters import AdapterConfig
from read.errors import InputError


def test_all_faults_are_named_at_once():
    with pytest.raises(InputError) as caught:
        AdapterConfig(mixer="grru", bottleneck=0, placement="beside", scale=-1, kernel_size=4, after=("ffn",))
    message = str(caught.value)
    for field in ("mixer", "bottleneck", "placement", "scale", "kernel_size", "after"):
        assert field in message
    assert "did you mean gru" in message


@pytest.mark.parametrize(
    ("settings", "part"),
    [
        ({"mixer": "conv", "bidirectional": True}, "recurrent mixer"),
        ({"placement": "low_rank", "residual": False}, "residual cannot be false in low_rank"),
        ({"bottleneck": 2.5}, "bottleneck is 2.5"),
        ({"residual": "yes"}, "residual is 'yes'"),
        ({"scale": float("inf")}, "scale"),
        ({"after": ()}, "after names no"),
        ({"causal": True}, "causal"),
    ],
)
def test_fault(settings, part):
    with pytest.raises(InputError, match=part):
        AdapterConfig(**settings)


def test_json_round_trip():
    config = AdapterConfig(mixer="lstm", bottleneck=5, after=("attention", "feed_forward"), targets="blocks.*.mlp")
    assert AdapterConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    assert config.targets == ("blocks.*.mlp",)


def test_unknown_field_names_the_nearest():
    with pytest.raises(InputError, match=r"bottlneck.*did you mean bottleneck"):
        AdapterConfig.from_dict({"bottlneck": 3})
