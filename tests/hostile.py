"""Bundles as a stranger may have made them. Run as a program, it tries kinds under a limit of memory."""

import json
import os
import resource
import sys
import time
from pathlib import Path

DEEP = "[" * 100_000
CONFIG, GROUND, TEXT = "config.json", "grounding/config.json", "summarization/config.json"
ADAPTER = "grounding/adapters/read_k2_s0/adapter.json"
CLIP, SLOWFAST, TOKENS = "encoders/clip/config.json", "encoders/slowfast/config.json", "summarization/tokenizer/"
WEIGHTS = "grounding/model.safetensors"


def put(place, value):
    """A change that sets the value at a dotted place of a JSON document."""

    def change(document):
        *folders, last = place.split(".")
        for name in folders:
            document = document[name]
        document[last] = value

    return change


def drop(place):
    def change(document):
        *folders, last = place.split(".")
        for name in folders:
            document = document[name]
        del document[last]

    return change


_ADAPTER = "tasks.grounding.adapters.read_k2_s0"
EDITS = {  # kind -> file, change of its JSON
    "fps-1e6": (CONFIG, put("features.fps", 1e6)),
    "fps-and-clip-len": (CONFIG, lambda config: config["features"].update(fps=100, clip_len=50)),
    "fps-4000-digits": (CONFIG, put("features.fps", 10**3999)),
    "fps-nan": (CONFIG, put("features.fps", float("nan"))),
    "fps-infinite": (CONFIG, put("features.fps", float("inf"))),
    "fps-text": (CONFIG, put("features.fps", "8")),
    "joint-a-path": (CONFIG, put("features.joint", "../clip")),
    "joint-of-none": (CONFIG, put("features.joint", "slowfast")),
    "no-encoders": (CONFIG, drop("features.encoders")),
    "encoder-a-list": (CONFIG, put("features.encoders.clip", [1])),
    "encoder-nameless": (CONFIG, drop("features.encoders.clip.name")),
    "adapters-a-list": (CONFIG, put("tasks.grounding.adapters", ["read"])),
    "adapter-null": (CONFIG, put(_ADAPTER, None)),
    "predict-a-list": (CONFIG, put(f"{_ADAPTER}.predict", ["nms"])),
    "nms-text": (CONFIG, put(f"{_ADAPTER}.predict", {"nms": "x"})),
    "threshold-text": (CONFIG, put(f"{_ADAPTER}.threshold", "0.5")),
    "threshold-nan": (CONFIG, put(f"{_ADAPTER}.threshold", float("nan"))),
    "beams-1e6": (CONFIG, put("tasks.summarization.adapters.read.predict.beams", 10**6)),
    "beams-true": (CONFIG, put("tasks.summarization.adapters.read.predict.beams", True)),
    "tokens-1e9": (CONFIG, put("tasks.summarization.adapters.read.predict.max_new_tokens", 10**9)),
    "digest-a-number": (CONFIG, put(f"files.{'x'}", 5)),
    "card-empty": (CONFIG, put("card", {})),
    "card-escapes": (CONFIG, put("card.licence", "\x1b]0;owned\x07")),
    "card-surrogate": (CONFIG, put("card.name", "\ud800")),
    "card-without-scores": (CONFIG, drop("card.tasks.grounding.adapters.full.scores")),
    "backbone-nameless": (GROUND, drop("backbone")),
    "backbone-a-list": (GROUND, put("backbone", ["univtg"])),
    "layers-1e6": (GROUND, put("layers", 10**6)),
    "layers-100": (GROUND, put("layers", 100)),
    "projections-1e6": (GROUND, put("projection_layers", 10**6)),
    "hidden-1e7": (GROUND, put("hidden", 10**7)),
    "hidden-negative": (GROUND, put("hidden", -16)),
    "hidden-text": (GROUND, put("hidden", "16")),
    "heads-0": (GROUND, put("heads", 0)),
    "widths-of-others": (GROUND, put("video_dim", 577)),
    "another-backbone": (GROUND, put("backbone", "umt")),
    "strategy-a-list": (ADAPTER, put("strategy", ["read"])),
    "options-a-list": (ADAPTER, put("options", [])),
    "backbone-undigested": (ADAPTER, drop("backbone")),
    "bottleneck-1e9": (ADAPTER, put("options.bottleneck", 10**9)),
    "bottleneck-text": (ADAPTER, put("options.bottleneck", "8")),
    "kernel-1e9": (ADAPTER, lambda adapter: adapter["options"].update(mixer="conv", kernel_size=10**9 + 1)),
    "rank-1e9": (ADAPTER, lambda adapter: adapter.update(strategy="lora", options={"rank": 10**9})),
    "peft-type-unknown": (ADAPTER, lambda adapter: adapter.update(strategy="peft", options={"type": "evil"})),
    "peft-type-a-list": (ADAPTER, lambda adapter: adapter.update(strategy="peft", options={"type": ["lora"]})),
    "peft-that-computes": (ADAPTER, lambda adapter: adapter.update(strategy="peft", options={"type": "frod"})),
    "depth-1e6": (ADAPTER, lambda adapter: adapter.update(strategy="peft", options={"type": "peanut", "depth": 10**6})),
    "prompt-1e9": (ADAPTER, lambda adapter: adapter.update(strategy="prompt", options={"length": 10**9})),
    "model-type-unknown": (TEXT, put("seq2seq.model_type", "evil")),
    "model-type-a-list": (TEXT, put("seq2seq.model_type", ["bart"])),
    "no-seq2seq": (TEXT, drop("seq2seq")),
    "generation-a-list": (TEXT, put("generation", [1])),
    "text-layers-1e6": (TEXT, put("seq2seq.encoder_layers", 10**6)),
    "text-layers-100": (TEXT, put("seq2seq.decoder_layers", 100)),
    "text-width-1e7": (TEXT, put("seq2seq.d_model", 10**7)),
    "text-words-1e9": (TEXT, put("seq2seq.vocab_size", 10**9)),
    "text-positions-1e9": (TEXT, put("seq2seq.max_position_embeddings", 10**9)),
    "activation-unknown": (TEXT, put("seq2seq.activation_function", "evil")),
    "guide-layers-1e6": (TEXT, put("visual_layers", 10**6)),
    "guide-width-1e7": (TEXT, put("video_dim", 10**7)),
    "tokenizer-code": (TOKENS + "tokenizer_config.json", put("auto_map", {"AutoTokenizer": ["evil.T", "evil.T"]})),
    "tokenizer-model-unknown": (TOKENS + "tokenizer.json", put("model.type", "Evil")),
    "tokenizer-grows": (
        TOKENS + "tokenizer.json",
        put("normalizer", {"type": "Replace", "pattern": {"String": "a"}, "content": "a" * 10**6}),
    ),
    "tokenizer-larger": (
        TOKENS + "tokenizer.json",
        lambda document: document["added_tokens"].append(
            dict(document["added_tokens"][0], id=10**6, content="<evil>")
        ),
    ),
    "clip-of-10-gb": (CLIP, put("name", "ViT-bigG-14")),
    "clip-of-the-hub": (CLIP, put("name", "hf-hub:evil/model")),
    "clip-with-foreign-text": (CLIP, put("name", "xlm-roberta-base-ViT-B-32")),
    "clip-mean-text": (CLIP, put("mean", ["a", "b", "c"])),
    "clip-std-0": (CLIP, put("std", [0, 0, 0])),
    "clip-frames-1e9": (CLIP, put("frames_per_clip", 10**9)),
    "clip-nameless": (CLIP, drop("name")),
    "slowfast-wide": (SLOWFAST, put("model.widths", [10**7, 10**7])),
    "slowfast-frames-1e9": (SLOWFAST, put("frames", 10**9)),
    "slowfast-alpha-0": (SLOWFAST, put("alpha", 0)),
    "slowfast-argument": (SLOWFAST, put("model.stem_function", "os.system")),
    "slowfast-depth-5": (SLOWFAST, put("model.blocks", [5])),
}  # fmt: skip
CONTENTS = {  # kind -> file, what stands in it
    "config-nested": (CONFIG, DEEP.encode()),
    "config-objects-nested": (CONFIG, b'{"a":' * 100_000),
    "config-5000-digits": (CONFIG, b'{"version": ' + b"9" * 5000 + b"}"),
    "config-a-list": (CONFIG, b"[]"),
    "config-empty": (CONFIG, b""),
    "config-no-utf8": (CONFIG, b"\xff\xfe\x00"),
    "config-100-mb": (CONFIG, b" " * 100 * 2**20),
    "backbone-config-nested": (GROUND, b'{"a":' * 100_000),
    "adapter-config-nested": (ADAPTER, DEEP.encode()),
    "clip-config-nested": (CLIP, DEEP.encode()),
    "text-config-nested": (TEXT, DEEP.encode()),
    "tokenizer-nested": (TOKENS + "tokenizer.json", b'{"model":' * 100_000),
    "tokenizer-no-json": (TOKENS + "tokenizer.json", b"x"),
    "weights-empty": (WEIGHTS, b""),
    "weights-no-header": (WEIGHTS, b"\xff" * 64),
    "weights-header-huge": (WEIGHTS, (2**62).to_bytes(8, "little") + b"{}"),
    "weights-nested": (WEIGHTS, (100_000).to_bytes(8, "little") + DEEP.encode()),
    "weights-none": (WEIGHTS, (2).to_bytes(8, "little") + b"{}"),
    "weights-overflow": (
        WEIGHTS,
        (80).to_bytes(8, "little")
        + b'{"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,0]}}'.ljust(80),
    ),
    "adapter-weights-none": (ADAPTER.replace("json", "safetensors"), (2).to_bytes(8, "little") + b"{}"),
    "clip-weights-none": (CLIP.replace("config.json", "model.safetensors"), (2).to_bytes(8, "little") + b"{}"),
    "text-weights-none": (TEXT.replace("config.json", "model.safetensors"), (2).to_bytes(8, "little") + b"{}"),
}
HEAVY = (
    "fps-1e6", "fps-and-clip-len", "beams-1e6", "layers-1e6", "projections-1e6", "hidden-1e7", "bottleneck-1e9",
    "kernel-1e9", "rank-1e9", "prompt-1e9", "text-layers-1e6", "text-width-1e7", "text-words-1e9",
    "text-positions-1e9", "guide-layers-1e6", "guide-width-1e7", "tokenizer-grows", "clip-of-10-gb", "slowfast-wide",
    "slowfast-frames-1e9", "config-100-mb", "weights-header-huge",
)  # fmt: skip
KINDS = [*EDITS, *CONTENTS]


def spoil(folder, kind):
    """Make a bundle hostile; its author has listed the digests anew."""
    from read.files import sha256_of

    if kind in CONTENTS:
        name, content = CONTENTS[kind]
        (folder / name).write_bytes(content)
    else:
        name, change = EDITS[kind]
        document = json.loads((folder / name).read_text(encoding="utf-8"))
        change(document)
        (folder / name).write_text(json.dumps(document), encoding="utf-8")
    if name != CONFIG:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        config["files"][name] = sha256_of(folder / name)
        (folder / CONFIG).write_text(json.dumps(config), encoding="utf-8")


def use(folder, video):
    """All that can be asked of a bundle, by its first adapters."""
    from read.bundle import Bundle
    from read.bundle.card import body
    from read.predictor import Predictor

    bundle = Bundle.open(folder)
    body(bundle.config["card"]).encode()
    predictor = Predictor.from_bundle(bundle)
    encoded = predictor.encode(video)
    encoded.moments("the dog jumps")
    encoded.summary("a cat sat on the mat")


def try_kinds(folder, video):
    """Print for each heavy kind how it ended, its seconds of CPU, and the most memory so far, in MiB."""
    from read.errors import InputError

    resource.setrlimit(resource.RLIMIT_AS, (6 * 2**30,) * 2)
    use(Path(folder) / "as-it-was", video)
    print("as-it-was", "used", 0, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024, flush=True)
    for kind in HEAVY:
        began, ended = time.process_time(), "used"
        try:
            use(Path(folder) / kind, video)
        except InputError:
            ended = "refused"
        except BaseException as error:
            ended = type(error).__name__
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        print(kind, ended, round(time.process_time() - began, 2), most, flush=True)


if __name__ == "__main__":
    os.environ["OMP_NUM_THREADS"] = "1"
    try_kinds(*sys.argv[1:3])
