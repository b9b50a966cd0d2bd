"""A Whisper that says the same whatever it hears: a real model, with weights that can be checked by hand.

Its layers add nothing. Each place in the decoder's text names the token that follows it.
"""

from pathlib import Path

import numpy as np
from scipy.signal import lfilter

SAID, END = "hello there", 1.0  # once in each half minute of speech, from its begin, in seconds
SPECIAL = (
    "endoftext",
    "startoftranscript",
    "translate",
    "transcribe",
    "startoflm",
    "startofprev",
    "nospeech",
    "notimestamps",
)
TIMES = [f"<|{0.02 * step:.2f}|>" for step in range(1501)]
WIDTH, CERTAIN = 16, 20.0
RATE = 16000
VOWELS = ((730, 1090, 2440), (270, 2290, 3010), (300, 870, 2240), (530, 1840, 2480))  # a, i, u, e: Hz


def voice(seconds: float) -> np.ndarray:
    """What a detector of voices takes for one, as mono float32 at RATE: pulses of a throat, shaped as vowels."""
    time = np.arange(round(seconds * RATE)) / RATE
    pulses = np.diff(np.floor(np.cumsum(120 + 20 * np.sin(1.4 * np.pi * time)) / RATE), prepend=0)
    said, step = np.zeros(len(time)), RATE // 5
    for number, start in enumerate(range(0, len(time), step)):
        sound = pulses[start : start + step]
        for pitch in VOWELS[number % len(VOWELS)]:
            radius = np.exp(-100 * np.pi / RATE)
            sound = lfilter([1], [1, -2 * radius * np.cos(2 * np.pi * pitch / RATE), radius**2], sound)
        said[start : start + step] = sound * np.hanning(len(sound))
    return (0.5 * said / np.abs(said).max()).astype(np.float32)


def make_whisper(folder: Path, said: str = SAID) -> Path:
    """A model of English alone in CTranslate2's format."""
    from ctranslate2.specs import WhisperSpec

    tokens = [*_save_tokenizer(folder, said.split()), *TIMES]
    follows = [TIMES[0], *(f"Ġ{word}" for word in said.split()), f"<|{END:.2f}|>", "<|endoftext|>"]
    axes = {token: axis for axis, token in enumerate(dict.fromkeys(follows))}
    names, order = np.zeros((len(tokens), WIDTH), np.float32), np.zeros((448, WIDTH), np.float32)
    for token, axis in axes.items():
        names[tokens.index(token), axis] = 1
    for step, token in enumerate(follows):
        order[step, axes[token]] = CERTAIN

    spec = WhisperSpec(1, 1, 1, 1)
    spec.decoder.embeddings.weight, spec.decoder.position_encodings.encodings = names, order
    spec.decoder.projection.weight = CERTAIN * names
    spec.encoder.position_encodings.encodings = np.zeros((1500, WIDTH), np.float32)
    (heard,), (written,) = spec.encoder.layer, spec.decoder.layer
    for conv, width in ((spec.encoder.conv1, 80), (spec.encoder.conv2, WIDTH)):
        conv.weight, conv.bias = np.zeros((WIDTH, width, 3), np.float32), np.zeros(WIDTH, np.float32)
    parts = [heard.self_attention, heard.ffn, written.self_attention, written.attention, written.ffn]
    for norm in (spec.encoder.layer_norm, spec.decoder.layer_norm, *(part.layer_norm for part in parts)):
        norm.gamma, norm.beta = np.ones(WIDTH, np.float32), np.zeros(WIDTH, np.float32)
    rows = {2: (3, 1), 3: (1, 2, 1)}  # of attention's matrices: those of queries, keys and values stand together
    for part in parts:
        found = getattr(part, "linear", None) or [part.linear_0, part.linear_1]
        for linear, count in zip(found, rows[len(found)] if hasattr(part, "linear") else (1, 1), strict=True):
            linear.weight, linear.bias = (
                np.zeros((count * WIDTH, WIDTH), np.float32),
                np.zeros(count * WIDTH, np.float32),
            )
    spec.config.suppress_ids, spec.config.suppress_ids_begin = [], []
    spec.config.lang_ids, spec.config.alignment_heads = [], [[0, 0]]
    spec.register_vocabulary(tokens)
    spec.validate()
    spec.save(str(folder))
    return folder


def _save_tokenizer(folder: Path, words: list[str]) -> list[str]:
    """Letters, words and what is no text."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    tokens = [*sorted(pre_tokenizers.ByteLevel.alphabet()), *(f"Ġ{word}" for word in dict.fromkeys(words))]
    special = [f"<|{name}|>" for name in SPECIAL]
    tokenizer = Tokenizer(models.BPE({token: number for number, token in enumerate(tokens)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(special)
    folder.mkdir(parents=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    return [*tokens, *special]
