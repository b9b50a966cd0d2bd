"""VG-BART, VG-T5, VG-PEGASUS: a sequence-to-sequence model of transformers whose encoder sees a video.

One composition serves them all: they differ in where their encoder's layers are, and in nothing else that matters here.
The text model is transformers' own class, untouched but for a hook on one encoder layer; without a video it computes
bit for bit what it computed. See `read.backbones.vg_fusion` for the equations and their source.

Symbols: B samples, N video steps, M words, d width of the text model. Masks are True or 1 at real steps and words.
"""

import dataclasses
import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from read.backbones.base import CONFIG, WEIGHTS, Backbone
from read.backbones.text_config import kept, kept_generation, text_config
from read.backbones.tokenizer import hub_name
from read.backbones.vg_fusion import Guide, VisualGuidanceConfig
from read.errors import InputError, optional_imports
from read.files import atomic_path, read_json, write_json
from read.settings import make_settings
from read.weights import load_tensors, save_tensors

GENERATION = {"num_beams": 5, "no_repeat_ngram_size": 3, "max_new_tokens": 64}  # as in the paper


class VisualGuidance(nn.Module):
    """A text model, `seq2seq`, and what lets it see, `guide`.

    The guide is new: no checkpoint holds its weights, and until they are trained the video changes nothing. So training
    has two stages. First `fresh_parameters()`, or the whole model, on a source domain or on the target's own videos;
    then a strategy, under which the guide stays frozen like the rest of the backbone. Every strategy is so compared on
    one and the same model that sees. `train_head=True` trains the guide's projection and fusion further, beside the
    output projection (in BART, T5 and PEGASUS that is the table of word embeddings, a large part of the model); `proj`
    trains these only. The visual layers are backbone, with sub-blocks for adapters.

    Args:
        seq2seq: the model, e.g. `BartForConditionalGeneration`.
        config: of the guide.

    Raises:
        InputError: the model has no encoder with layers, no such `layer`, or a width that `heads` does not divide.
    """

    name = "visual_guidance"

    def __init__(self, seq2seq: nn.Module, config: VisualGuidanceConfig) -> None:
        super().__init__()
        layers = encoder_layers(seq2seq)
        if not -len(layers) <= config.layer < len(layers):
            raise InputError(f"VisualGuidanceConfig: layer is {config.layer}, but the encoder has {len(layers)} layers")
        self.config = config
        self.seq2seq = seq2seq
        like = next(seq2seq.parameters())
        self.guide = Guide(seq2seq.config.hidden_size, config).to(like.device, like.dtype)
        layers[config.layer].register_forward_hook(self.guide.add)
        self.train(seq2seq.training)

    @classmethod
    def from_pretrained(cls, source: str | Path, **settings: Any) -> Self:
        """A pretrained text model with an untrained guide, in evaluation mode.

        Args:
            source: a folder or a name on the hub, as `AutoModelForSeq2SeqLM.from_pretrained` takes it, with the
                revision after an `@` where it is to be this one: `facebook/bart-base@<commit>`. For its other
                arguments load the model yourself and give it to the constructor.
            settings: fields of `VisualGuidanceConfig`; `video_dim` is needed.

        Raises:
            InputError: an unknown setting, or no such model.
        """
        with optional_imports():
            from transformers import AutoModelForSeq2SeqLM

        config = _config(settings)
        try:
            seq2seq = AutoModelForSeq2SeqLM.from_pretrained(**hub_name(source), trust_remote_code=False)
        except (OSError, ValueError) as error:
            reason = str(error).strip().splitlines()[0]
            raise InputError(f"{source}: no sequence-to-sequence model of transformers ({reason})") from None
        return cls(seq2seq, config).eval()

    @property
    def commit(self) -> str | None:
        """The revision on the hub that the text model is of; None for one that is from elsewhere."""
        return getattr(self.seq2seq.config, "_commit_hash", None)

    def forward(
        self,
        video: Tensor | None = None,
        video_mask: Tensor | None = None,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        labels: Tensor | None = None,
        *,
        visual_attention: bool = False,
        **kwargs: Any,
    ) -> Mapping[str, Any]:
        """What the text model gives for words and a video.

        Args:
            video: (B, N, video_dim); None or N = 0: no video.
            video_mask: (B, N); None: all steps are real. A sample without real steps is one without video.
            input_ids: (B, M).
            attention_mask: (B, M); None: all words are real.
            labels: (B, T), -100 where nothing is to be predicted.
            visual_attention: ask for the weights with which words attended to the video.
            kwargs: further arguments of the text model.

        Returns:
            The text model's output, `loss` and `logits` (B, T, vocabulary) among others, and `states` {"video": (B, S,
            d), "text": (B, M, d)} for alignment, with their `masks`. S = min(N, max_steps) steps are read. Where asked
            for, `visual_attention` (B, M, N), whose rows sum to 1 over the real steps. What needs a video is absent
            without one.

        Raises:
            InputError: a shape does not fit, or the encoder has run already.
        """
        if video is not None and kwargs.get("encoder_outputs") is not None:
            raise InputError("video: encoder_outputs are of an encoder that has run already, so cannot see it")
        given = {"input_ids": input_ids, "attention_mask": attention_mask, "labels": labels}
        with self.guide.watching(video, video_mask) as memory:
            output = self.seq2seq(**kwargs | given | {"return_dict": True})
        words = output.encoder_last_hidden_state
        real = words.new_ones(words.shape[:2]) if attention_mask is None else attention_mask
        states, masks, weights = {"text": words}, {"text": real.bool()}, None
        if memory is not None:
            states["video"], masks["video"] = memory.video, memory.mask
            weights = memory.attention() if visual_attention else None
        return _output_class(type(output))(**output, states=states, masks=masks, visual_attention=weights)

    @torch.no_grad()
    def generate(
        self,
        video: Tensor | None = None,
        video_mask: Tensor | None = None,
        input_ids: Tensor | None = None,
        **kwargs: Any,
    ) -> Any:
        """A summary: (B, tokens), or what transformers' `generate` gives for `kwargs`.

        The encoder runs once, before samples are repeated for beams. By default 5 beams, no repeated 3-gram and at most
        64 new tokens; a `generation_config` takes the place of all three, `max_length` that of the last.

        Args:
            video: as in `forward`.
            video_mask: as in `forward`.
            input_ids: (B, M).
            kwargs: of transformers' `generate`; among them `attention_mask`.

        Raises:
            InputError: as `forward`.
        """
        if video is not None and kwargs.get("encoder_outputs") is not None:
            raise InputError("video: encoder_outputs are of an encoder that has run already, so cannot see it")
        defaults = {} if kwargs.get("generation_config") is not None else dict(GENERATION)
        if kwargs.get("max_length") is not None:
            defaults.pop("max_new_tokens", None)
        with self.guide.watching(video, video_mask):
            return self.seq2seq.generate(input_ids, **defaults | kwargs)

    def fresh_parameters(self) -> list[str]:
        """Names of the parameters that no public checkpoint holds: those of the guide."""
        return [name for name, _ in self.named_parameters() if name.startswith("guide.")]

    def heads(self) -> list[str]:
        """The output projection, and what maps the video into the text model: projection and fusion."""
        output = self.seq2seq.get_output_embeddings()
        names = [f"seq2seq.{name}" for name, module in self.seq2seq.named_modules() if module is output]
        return [*names, "guide.project", "guide.fusion"]

    # Not a Backbone, which grounds sentences, but told apart and loaded in the same way.
    digest = Backbone.digest
    load_weights = Backbone.load_weights

    def save(self, folder: str | Path) -> None:
        """Write `config.json`, with the text model's own, and `model.safetensors`, whole or not at all."""
        ties = self._ties()
        weights = {key: value for key, value in self.state_dict().items() if key not in ties}
        values = {"model": self.name, **dataclasses.asdict(self.config)}
        values["seq2seq"] = kept(json.loads(self.seq2seq.config.to_json_string(use_diff=False)))
        values["generation"] = kept_generation(json.loads(self.seq2seq.generation_config.to_json_string()))
        with atomic_path(folder) as draft:
            draft.mkdir()
            save_tensors(weights, draft / WEIGHTS)
            write_json(draft / CONFIG, values)

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """The model that `save` wrote, in evaluation mode; no other file and no network is needed.

        Raises:
            InputError: a file is absent or broken, or does not hold exactly the model's weights.
        """
        folder = Path(folder)
        for file in (CONFIG, WEIGHTS):
            if not (folder / file).is_file():
                raise InputError(f"{folder / file}: no such file; a model's folder holds {CONFIG} and {WEIGHTS}")
        model, state = cls.from_config(read_json(folder / CONFIG), folder / CONFIG), load_tensors(folder / WEIGHTS)
        model = model.to(next(iter(state.values())).dtype)
        state |= {key: state[first] for key, first in model._ties().items() if first in state}
        return model.load_weights(state, folder / WEIGHTS).eval()

    @classmethod
    def from_config(cls, values: Mapping[str, Any], source: str | Path) -> Self:
        """A model as `save` described it in `config.json`, with weights by chance.

        Raises:
            InputError: naming `source`: it describes no such model.
        """
        with optional_imports():
            from transformers import AutoModelForSeq2SeqLM, GenerationConfig

        values = dict(values)
        if values.pop("model", None) != cls.name:
            raise InputError(f'{source}: not of a model with visual guidance, whose "model" is "{cls.name}"')
        if missing := [key for key in ("seq2seq", "generation") if not isinstance(values.get(key), dict)]:
            raise InputError(f"{source}: {missing[0]} is missing, the text model's own settings")
        config, generation = text_config(values.pop("seq2seq"), source), kept_generation(values.pop("generation"))
        seq2seq = AutoModelForSeq2SeqLM.from_config(config, trust_remote_code=False)
        seq2seq.generation_config = GenerationConfig.from_dict(generation)
        return cls(seq2seq, _config(values))

    def _ties(self) -> dict[str, str]:
        """Keys of the state dict whose weights are another key's as well, which stands before it -> that key."""
        first: dict[int, str] = {}
        weights = self.state_dict(keep_vars=True).items()
        return {key: first[id(value)] for key, value in weights if first.setdefault(id(value), key) != key}


def encoder_layers(seq2seq: nn.Module) -> nn.ModuleList:
    """The layers of a model's encoder. Raises InputError where they are not known."""
    encoder = seq2seq.get_encoder() if hasattr(seq2seq, "get_encoder") else None
    for name in ("layers", "block"):
        if isinstance(layers := getattr(encoder, name, None), nn.ModuleList) and encoder is not seq2seq:
            return layers
    raise InputError(f"{type(seq2seq).__name__}: has no encoder whose layers are known, as BART, T5 and PEGASUS have")


@functools.cache
def _output_class(kind: type) -> type:
    """A text model's class of outputs with more fields; other keys than fields are lost wherever outputs are copied."""
    fields = [(name, Any, None) for name in ("states", "masks", "visual_attention")]
    return dataclasses.make_dataclass(
        f"Guided{kind.__name__}", fields, bases=(kind,), namespace={"__module__": __name__}
    )


def _config(settings: Mapping[str, Any]) -> VisualGuidanceConfig:
    return make_settings(VisualGuidanceConfig, settings, "visual guidance")
