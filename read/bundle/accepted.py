"""What the JSON files of a bundle may say. Bounds are far above what any honest model has."""

from collections.abc import Iterator
from typing import Any

from read.bundle.schema import Check, flag, items, maybe, number, one_of, plain, record, table, text, whole
from read.settings import WINDOWS

FORMAT, VERSION = "read-bundle", 1
TASKS = ("grounding", "summarization")
NAME = r"[A-Za-z][A-Za-z0-9_]*"  # of an adapter: torch makes an attribute of it
MAX_FPS, MAX_CLIP_LEN, MAX_FRAMES = 120, 60, 128  # frames of one clip
_SIZE, _SHARE = whole(1, 10_000_000), number(0, 1)  # sizes are compared with the weights as well
_LAYERS, _FINITE = whole(0, 128), number(-1e30, 1e30)
_WORD = text(200)

SETTINGS: dict[str, dict[str, Check]] = {  # of prediction, as the evaluate stage took them
    "grounding": {"method": one_of(*WINDOWS), "nms": _SHARE},
    "summarization": {
        "beams": whole(1, 32), "max_new_tokens": whole(1, 1024), "no_repeat_ngram": whole(0, 1024),
    },
}  # fmt: skip
_THRESHOLD = {"threshold": maybe(_FINITE)}
_COUNT = whole(0, 10**9)
_CONFIDENCE = record(
    {
        **dict.fromkeys(("videos", "shown", "right", "present", "answered", "found", "denied"), _COUNT),
        **dict.fromkeys(("absent", "answered_absent"), _COUNT),
        **dict.fromkeys(("precision", "absent_precision", "absent_recall"), maybe(_SHARE)),
    }
)
_CARD_ADAPTER = {
    "dataset": _WORD, "data": table(".*", text(10_000), 50), "split": table(".*", plain, 50),
    "strategy": record({"name": _WORD, "options": table(".*", plain, 100)}), "training": table(".*", plain, 100),
    "threshold": maybe(_FINITE), "predict": table(".*", plain, 20), "scores": table(".*", _FINITE, 1000),
    "seeds": table(".*", record({"mean": _FINITE, "low": _FINITE, "high": _FINITE, "seeds": whole(2, 10**6)}), 1000),
}  # fmt: skip
_CARD_OPTIONS = {
    "confidence": maybe(_CONFIDENCE), "untrained": flag,
    "references": table(NAME, table(".*", _FINITE, 1000), 20),
}  # fmt: skip
_CARD_TASK = record(
    {
        "backbone": record({}, {"config": record({}, rest=plain)}, plain),
        "adapters": table(NAME, record(_CARD_ADAPTER, _CARD_OPTIONS, plain), 1000),
    }
)
_CARD = record(
    {"name": _WORD, "licence": _WORD, "version": _WORD, "tasks": record({}, dict.fromkeys(TASKS, _CARD_TASK))},
    {"words": maybe(items(_WORD, 0, 1_000_000))},
    plain,
)
_VIEW = record({"size": whole(1, 4096), "squash": flag, "short": whole(0, 4096)})
_FEATURES = record(
    {
        "fps": number(0, MAX_FPS, above=True), "clip_len": number(0, MAX_CLIP_LEN, above=True),
        "encoders": table(NAME, record({"name": _WORD}, rest=plain), 20),
    },
    {
        "views": table(NAME, _VIEW, 20), "joined": items(text(200, NAME), 1, 20), "joint": text(200, NAME),
        "sound": items(text(200, NAME), 1, 20), "normalise": flag,
    },
    plain,
)  # fmt: skip


def _task(name: str) -> Check:
    adapter = record({}, _THRESHOLD | {"predict": record({}, SETTINGS[name])}, plain)
    return record({"adapters": table(NAME, adapter, 1000, "name of an adapter")})


_BUNDLE = record(
    {
        "format": one_of(FORMAT), "version": one_of(VERSION), "features": _FEATURES,
        "encoders": table(NAME, text(1000), 20), "tasks": record({}, {name: _task(name) for name in TASKS}),
        "card": _CARD,
        "files": table(".*", text(64, "[0-9a-f]{64}"), 10_000),
    },
    rest=plain,
)  # fmt: skip


def bundle(value: Any, place: str) -> Iterator[str]:
    """`config.json` of a bundle."""
    yield from _BUNDLE(value, place)
    features, tasks = value.get("features"), value.get("tasks")
    rates = [features.get(key) for key in ("fps", "clip_len")] if isinstance(features, dict) else []
    if all(type(rate) in (int, float) for rate in rates) and len(rates) == 2 and rates[0] * rates[1] > MAX_FRAMES:
        yield f"features: {rates[0]:g} frames a second for {rates[1]:g} s; a clip has {MAX_FRAMES} frames at most"
    for name, task in tasks.items() if isinstance(tasks, dict) else ():
        if isinstance(task, dict) and not task.get("adapters"):
            yield f"tasks.{name}.adapters must hold one adapter at least"
    if tasks == {}:
        yield f"tasks: none; there are {' and '.join(TASKS)}"


ADAPTER = record(
    {
        "strategy": maybe(_WORD), "options": table(".*", plain, 100), "backbone": text(64, "[0-9a-f]{64}"),
        "extra": record({}, rest=plain),
    },
    rest=plain,
)  # fmt: skip


def sizes(value: Any, place: str) -> Iterator[str]:
    """A model's settings: any JSON within limits, whose numbers of layers are no more than a model can have."""
    yield from plain(value, place)
    left = [(value, place)]
    while left:
        value, place = left.pop()
        for key, each in value.items():
            under = f"{place}.{key}" if place else key
            if isinstance(each, dict):
                left.append((each, under))
            elif "layers" in key and type(each) is int:
                yield from _LAYERS(each, under)
            elif type(each) in (int, float):
                yield from number(-10_000_000, 10_000_000)(each, under)


def grounding(value: Any, place: str) -> Iterator[str]:
    """`config.json` of a grounding model. Its fields' types are those of the model's config class."""
    from dataclasses import fields

    from read.backbones import backbone_names, get_backbone

    kinds = {int: _SIZE, float: _FINITE, bool: flag}
    name = value.get("backbone")
    faults = list(one_of(*backbone_names())(name, "backbone"))
    if not faults:
        config = get_backbone(name).config_class
        of_field = {
            field.name: _LAYERS if "layers" in field.name
            else whole(0, 10_000_000) if field.name in config.MAY_BE_ZERO
            else kinds.get(field.type, plain)
            for field in fields(config)
        }  # fmt: skip
        faults = list(record({"backbone": _WORD, "video_dim": _SIZE, "text_dim": _SIZE}, of_field)(value, place))
    yield from faults


_SEQ2SEQ = record({"model_type": _WORD}, rest=plain)
_GUIDED = record(
    {"model": one_of("visual_guidance"), "video_dim": _SIZE, "seq2seq": _SEQ2SEQ}, {"visual_layers": _LAYERS}, plain
)


def summarization(value: Any, place: str) -> Iterator[str]:
    """`config.json` of a text model that sees a video."""
    yield from _GUIDED(value, place)
    yield from sizes(value, place)


def tokenizer_config(value: Any, place: str) -> Iterator[str]:
    """`tokenizer_config.json`: it may not name code."""
    yield from plain(value, place)
    if "auto_map" in value:
        yield "auto_map names code that the tokenizer would run; nothing of a bundle is run"


def tokenizer(value: Any, place: str) -> Iterator[str]:
    """`tokenizer.json`: whatever is no vocabulary is short, so that a text does not grow without bounds."""
    for key, each in value.items():
        if key not in ("model", "added_tokens"):
            yield from plain(each, key)
            yield from (f"{key} holds a text of {len(words)} characters" for words in _texts(each) if len(words) > 1000)


def _texts(value: Any) -> Iterator[str]:
    left = [value]
    while left:
        value = left.pop()
        if isinstance(value, str):
            yield value
        elif isinstance(value, dict | list):
            left += value.values() if isinstance(value, dict) else value


_COLOURS = items(number(-100, 100), 3, 3)
_DEVIATIONS = items(number(0, 100, above=True), 3, 3)
_WIDTHS = items(whole(1, 4096), 2, 2)
_SLOWFAST = record({"blocks": items(whole(1, 64), 4, 4), "widths": _WIDTHS, "stride": whole(1, 64)})
_LISTENER = record(  # whose sizes are taken before a model is
    {"sampling_rate": whole(1, 400_000)},
    {
        **dict.fromkeys(("fft_window_size", "hop_length", "max_length"), whole(1, 100_000)),
        **dict.fromkeys(("feature_size", "num_mel_bins"), whole(1, 1024)), "max_length_s": whole(1, MAX_CLIP_LEN),
    },
    plain,
)  # fmt: skip


def _transformer(value: Any, place: str) -> Iterator[str]:
    if faults := list(record({}, rest=plain)(value, place)):
        yield from faults
    else:
        yield from sizes(value, place)


_OPTIONAL = {"kind": _WORD, "commit": _WORD}
_HEARING = record({"name": _WORD, "model": _transformer, "listener": _LISTENER}, _OPTIONAL)
_LEVELS, _LEVEL_STEPS = items(number(-1e4, 1e4), 3, 3), items(number(0, 1e4, above=True), 3, 3)
_WATCHING = {
    "name": _WORD, "model": _transformer, "frames": whole(1, MAX_FRAMES), "size": whole(1, 4096),
    "short": whole(0, 4096), "squash": flag, "mean": _LEVELS, "std": _LEVEL_STEPS,
}  # fmt: skip
ENCODERS: dict[str, Check] = {
    "hf_video": record(_WATCHING | {"family": _WORD, "classifier": flag}, _OPTIONAL),
    "xclip": record(_WATCHING, _OPTIONAL),
    "clip": record(
        {
            "name": _WORD, "quick_gelu": flag, "frames_per_clip": whole(1, MAX_FRAMES), "mean": _COLOURS,
            "std": _DEVIATIONS, "squash": flag,
        },
        {"kind": _WORD, "text": _transformer},
    ),
    "slowfast": record(
        {
            "name": _WORD, "size": whole(1, 4096), "frames": whole(1, MAX_FRAMES), "alpha": whole(1, MAX_FRAMES),
            "fast_input": one_of("frames", "differences"), "mean": _COLOURS, "std": _DEVIATIONS, "model": _SLOWFAST,
        },
        {"kind": _WORD},
    ),
    "pann": record({"name": one_of("cnn14"), "width": whole(1, 1024)}, {"kind": _WORD}),
    "ast": _HEARING,
    "clap": _HEARING,
}  # fmt: skip
MODELS: dict[str, Check] = {"grounding": grounding, "summarization": summarization}
