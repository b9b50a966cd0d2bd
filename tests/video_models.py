"""Small random video-language models, with processors made here: a tokenizer of few words, real ones of pictures."""

from functools import cache

import numpy as np
import torch

KINDS = ("smolvlm", "qwen2_5_vl", "qwen3_vl", "llava_next_video")
SIDE, FPS = 28, 2.0  # pixels of a frame's side, frames a second
MARKS = (
    "<pad>", "<|im_start|>", "<|im_end|>", "<image>", "<video>", "<fake_token_around_image>", "<global-img>",
    "<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>",
)  # fmt: skip
WORDS = (
    "user assistant system red blue green first second then Which colour came When does it happen Answer with seconds "
    "from to and none of the video Frame from 00: You are provided the following series of frames from a sampled video"
)
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% for part in message['content'] %}{% if part['type'] == 'text' %}{{ part['text'] }}"
    "{% elif part['type'] == 'image' %}{{ picture }}{% else %}{{ video }}{% endif %}{% endfor %}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@cache
def tokenizer_of():
    """Bytes, pairs of them that are frequent in WORDS, and marks."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=600, special_tokens=list(MARKS), initial_alphabet=alphabet, show_progress=False
    )
    made.train_from_iterator([WORDS, WORDS], trainer)
    tokens = {"pad_token": "<pad>", "eos_token": "<|im_end|>"}
    return PreTrainedTokenizerFast(tokenizer_object=made, padding_side="left", **tokens)


def make_processor(kind):
    """The family's own processor."""
    import transformers as hf

    tokenizer = tokenizer_of()
    template = TEMPLATE
    small = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    if kind == "smolvlm":
        size = {"size": {"longest_edge": SIDE}, "max_image_size": {"longest_edge": SIDE}}
        images = hf.SmolVLMImageProcessor(do_image_splitting=False, **size, **small)
        videos = hf.SmolVLMVideoProcessor(**size, **small, video_sampling={"fps": 1, "max_frames": 64})
        made = hf.SmolVLMProcessor(images, tokenizer, videos, image_seq_len=4)
        marks = ("<image>", "<video>")
    elif kind in ("qwen2_5_vl", "qwen3_vl"):
        size = {"size": {"shortest_edge": 14 * 14, "longest_edge": 56 * 56 * 64}, **small}
        sides = {"patch_size": 7, "temporal_patch_size": 2, "merge_size": 2}
        images = hf.Qwen2VLImageProcessor(**size, **sides)
        video = hf.Qwen2VLVideoProcessor if kind == "qwen2_5_vl" else hf.Qwen3VLVideoProcessor
        made = getattr(hf, {"qwen2_5_vl": "Qwen2_5_VLProcessor", "qwen3_vl": "Qwen3VLProcessor"}[kind])(
            images, tokenizer, video(**size, **sides)
        )
        marks = ("<|vision_start|><|image_pad|><|vision_end|>", "<|vision_start|><|video_pad|><|vision_end|>")
    else:
        size = {"size": {"height": SIDE, "width": SIDE}, "do_center_crop": False, **small}
        images = hf.LlavaNextImageProcessor(**size, image_grid_pinpoints=[[SIDE, SIDE]])
        made = hf.LlavaNextVideoProcessor(
            hf.LlavaNextVideoVideoProcessor(**size), images, tokenizer, patch_size=7,
            vision_feature_select_strategy="default", num_additional_image_tokens=1,
        )  # fmt: skip
        marks = ("<image>", "<video>")
    picture, video = (repr(mark) for mark in marks)
    made.chat_template = template.replace("{{ picture }}", f"{{{{ {picture} }}}}").replace(
        "{{ video }}", f"{{{{ {video} }}}}"
    )
    return made


def make_model(kind, layers=2):
    """A model of its class for conditional generation, with the ids of the tokenizer."""
    import transformers as hf

    torch.manual_seed(0)
    tokenizer = tokenizer_of()
    ids = {mark: tokenizer.convert_tokens_to_ids(mark) for mark in MARKS}
    text = {
        "vocab_size": len(tokenizer), "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": layers,
        "num_attention_heads": 2, "num_key_value_heads": 1, "max_position_embeddings": 4096,
        "pad_token_id": ids["<pad>"],
        "bos_token_id": ids["<|im_start|>"], "eos_token_id": ids["<|im_end|>"], "initializer_range": 0.2,
    }  # fmt: skip
    vision = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
    if kind == "smolvlm":
        config = hf.SmolVLMConfig(
            text_config=text | {"model_type": "llama"}, vision_config=vision | {"image_size": SIDE, "patch_size": 7},
            image_token_id=ids["<image>"], scale_factor=2, tie_word_embeddings=False, pad_token_id=ids["<pad>"],
        )  # fmt: skip
        model = hf.SmolVLMForConditionalGeneration(config)
    elif kind == "llava_next_video":
        config = hf.LlavaNextVideoConfig(
            text_config=text | {"model_type": "llama"},
            vision_config=vision | {"model_type": "clip_vision_model", "image_size": SIDE, "patch_size": 7,
                                    "projection_dim": 16},
            image_token_index=ids["<image>"], video_token_index=ids["<video>"], image_grid_pinpoints=[[SIDE, SIDE]],
            vision_feature_layer=-1, tie_word_embeddings=False,
        )  # fmt: skip
        model = hf.LlavaNextVideoForConditionalGeneration(config)
    else:
        rope = {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 3, 3]}
        own = {"depth": 2, "num_heads": 2, "patch_size": 7, "spatial_merge_size": 2, "temporal_patch_size": 2,
               "out_hidden_size": 32, "hidden_size": 16, "intermediate_size": 24}  # fmt: skip
        if kind == "qwen2_5_vl":
            own |= {"window_size": 28, "fullatt_block_indexes": [1], "tokens_per_second": 2}
        else:
            own |= {"num_position_embeddings": 16, "deepstack_visual_indexes": [0]}
            text |= {"head_dim": 16}
        name = {"qwen2_5_vl": "Qwen2_5_VL", "qwen3_vl": "Qwen3VL"}[kind]
        config = getattr(hf, f"{name}Config")(
            text_config=text | {"rope_parameters": rope}, vision_config=own, tie_word_embeddings=False,
            image_token_id=ids["<|image_pad|>"], video_token_id=ids["<|video_pad|>"],
            vision_start_token_id=ids["<|vision_start|>"], vision_end_token_id=ids["<|vision_end|>"],
        )  # fmt: skip
        model = getattr(hf, f"{name}ForConditionalGeneration")(config)
    return model.eval()


def clip(frames, seed=0):
    """A video (frames, SIDE, SIDE, 3) of uint8."""
    return np.random.default_rng(seed).integers(0, 255, (frames, SIDE, SIDE, 3), dtype=np.uint8)


def batch_of(processor, videos, questions):
    """What the processor makes of a video and a question each, padded on the left."""
    messages = [
        [{"role": "user", "content": [{"type": "video"}, {"type": "text", "text": question}]}] for question in questions
    ]
    texts = [processor.apply_chat_template(each, add_generation_prompt=True) for each in messages]
    counts = [len(video) for video in videos]
    metadata = [
        {"fps": FPS, "total_num_frames": count, "duration": count / FPS, "frames_indices": list(range(count))}
        for count in counts
    ]
    given = {"videos": [list(video) for video in videos], "video_metadata": metadata, "do_sample_frames": False}
    return processor(text=texts, padding=True, return_tensors="pt", **given)


def sample_of(kind, batch, index, videos):
    """One sample of a batch of one video each, without padding, as it would be alone."""
    real = batch["attention_mask"][index].bool()
    alone = {
        name: batch[name][index : index + 1, real] for name in ("input_ids", "attention_mask", "mm_token_type_ids")
        if name in batch
    }  # fmt: skip
    frames = len(videos[index])
    if kind.startswith("qwen"):
        sizes = batch["video_grid_thw"].prod(1).tolist()
        alone["pixel_values_videos"] = batch["pixel_values_videos"].split(sizes)[index]
        names = ("video_grid_thw", "second_per_grid_ts")
        alone |= {name: batch[name][index : index + 1] for name in names if name in batch}
    else:
        names = ("pixel_values", "pixel_attention_mask", "pixel_values_videos")
        alone |= {name: batch[name][index : index + 1, :frames] for name in names if name in batch}
    return alone


def doubled(batch):
    """Pixels in double precision."""
    return {name: value.double() if name.startswith("pixel_values") else value for name, value in batch.items()}
