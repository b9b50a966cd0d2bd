"""What is kept of a text model's own settings: nothing that names code, files or places."""

from collections.abc import Mapping
from typing import Any

from read.errors import InputError, optional_imports

DROPPED = ("auto_map", "_name_or_path", "attn_implementation", "_attn_implementation", "quantization_config")
GENERATION = (
    "bad_words_ids", "begin_suppress_tokens", "bos_token_id", "decoder_start_token_id", "early_stopping",
    "encoder_no_repeat_ngram_size", "eos_token_id", "forced_bos_token_id", "forced_eos_token_id", "length_penalty",
    "max_length", "max_new_tokens", "min_length", "min_new_tokens", "no_repeat_ngram_size", "num_beams",
    "pad_token_id", "renormalize_logits", "repetition_penalty", "suppress_tokens", "use_cache",
)  # fmt: skip
# transformers fetches code for other ways to generate, so that only these settings pass.


def kept(config: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a text model that are stored."""
    return {key: value for key, value in config.items() if key not in DROPPED}


def kept_generation(config: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of its generation that are stored."""
    return {key: config[key] for key in GENERATION if config.get(key) is not None}


def text_config(values: Mapping[str, Any], source: Any) -> Any:
    """The config of transformers for stored settings; those that its class does not know are passed over.

    Raises:
        InputError: `model_type` is no sequence-to-sequence model of transformers, or a setting is none.
    """
    with optional_imports():
        from transformers import CONFIG_MAPPING
        from transformers.models.auto.modeling_auto import MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES

    kind = values.get("model_type")
    if kind not in MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES:
        raise InputError(f"{source}: model_type {str(kind)[:60]!r} is no sequence-to-sequence model of transformers")
    try:
        known = CONFIG_MAPPING[kind]().to_dict().keys() - {*DROPPED, "model_type"}
        taken = {key: value for key, value in values.items() if key in known or key.endswith("_token_id")}
        return CONFIG_MAPPING[kind](**taken)
    except Exception as error:  # each class checks its settings in its own way
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise InputError(f"{source}: no settings of {kind} ({reason})") from None
