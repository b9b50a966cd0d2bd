"""READ in a video-language model: from a few dozen labelled videos to the moments that a sentence describes.

    python examples/video_language_model.py --model HuggingFaceTB/SmolVLM2-500M-Video-Instruct \
        --annotations mine.jsonl --videos videos --out adapter

* The labels: a line a sentence, in QVHighlights' form. `split` is train or test; without it, each third video is test.
  {"qid": 1, "vid": "party", "query": "the dog jumps", "duration": 75.0, "relevant_windows": [[12.0, 17.5]]}
* Times are plain seconds, "12.0 to 17.5"; they need no special tokens. Frames are taken at --fps, and the processor is
  told when each was: a label that is right by the video's clock is right for the model.
* Memory: frames are what costs (--fps, --frames, --size). --bits 8 keeps the frozen model in 8 bits, and layers are
  computed again in the backward pass instead of being kept. How many parameters train is printed.
* Few videos: nothing is chosen on the test side. If READ does not beat `the whole video` there, it has learned nothing.
"""

import argparse
from pathlib import Path

import torch
from transformers import AutoModelForImageTextToText, AutoProcessor, Trainer, TrainingArguments

import read
from read.data.annotations import load_annotations
from read.files import write_jsonl
from read.metrics.grounding import evaluate, random_level
from read.video_language import VideoPrompts, prediction

SHOWN = ("MR-full-R1@0.5", "MR-full-R1@0.7", "MR-full-mAP", "MR-full-mIoU")


def sides(annotations):
    """Those to train with, and those to score with: no video is in both."""
    videos = sorted({annotation.vid for annotation in annotations})
    third = {vid: "test" if number % 3 == 2 else "train" for number, vid in enumerate(videos)}
    side = [annotation.split or third[annotation.vid] for annotation in annotations]
    return [[each for each, own in zip(annotations, side, strict=True) if own == name] for name in ("train", "test")]


class AlignedTrainer(Trainer):
    """Adds the alignment of the video's tokens with the prompt's words, for the strategy read_pvla."""

    def compute_loss(self, model, *args, return_outputs=False, **kwargs):
        loss, outputs = super().compute_loss(model, *args, return_outputs=True, **kwargs)
        loss = loss + read.Alignment()(model)
        return (loss, outputs) if return_outputs else loss


def show(name, table):
    figures = table["brief"] | table["extra"]
    print(f"{name:16}" + "".join(f"{figures[metric]:16.1f}" for metric in SHOWN))


def main(given=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="a name on the Hugging Face hub, or a folder")
    parser.add_argument("--annotations", required=True)
    parser.add_argument("--videos", required=True, help="a folder; the stem of a file is its vid")
    parser.add_argument("--out", required=True, help="a folder for the adapter and the answers")
    parser.add_argument("--strategy", default="read", help="or read_pvla, adapter, lora, ...")
    parser.add_argument("--fps", type=float, default=1.0)
    parser.add_argument("--frames", type=int, default=64, help="of a video, at most")
    parser.add_argument("--size", type=int, default=224, help="pixels of a frame's side")
    parser.add_argument("--epochs", type=float, default=10)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--bits", type=int, choices=(8, 16, 32), default=16)
    args = parser.parse_args(given)

    train, test = sides(load_annotations(args.annotations, clip_len=2.0))
    if not train or not test:
        raise SystemExit(f"{len(train)} labels to train with and {len(test)} to score with: there must be some of both")
    prompts = VideoPrompts(
        AutoProcessor.from_pretrained(args.model), args.videos, fps=args.fps, max_frames=args.frames, size=args.size
    )
    precision = torch.float32 if args.bits == 32 else torch.bfloat16
    model = AutoModelForImageTextToText.from_pretrained(args.model, dtype=precision, device_map="auto")
    if args.bits == 8:  # not by a config of from_pretrained, with which a Trainer wants adapters of peft
        from torchao.quantization import Int8WeightOnlyConfig, quantize_

        linear = torch.nn.Linear
        quantize_(model, Int8WeightOnlyConfig(), lambda part, name: isinstance(part, linear) and "lm_head" not in name)
    read.apply_strategy(args.strategy, model)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()  # small steps are lost in bf16
    found = read.trainable_parameters(model)
    print(f"{len(train)} labels train {found.total:,} parameters, {found.share:.2%}; {len(test)} are scored")

    settings = TrainingArguments(
        output_dir=f"{args.out}/trainer", num_train_epochs=args.epochs, learning_rate=args.rate,
        lr_scheduler_type="cosine", warmup_steps=0.1, per_device_train_batch_size=1, gradient_accumulation_steps=4,
        gradient_checkpointing=True, logging_steps=10, save_strategy="no", report_to="none",
    )  # fmt: skip
    trainer = AlignedTrainer if args.strategy == "read_pvla" else Trainer
    trainer(model, settings, data_collator=prompts.taught, train_dataset=train).train()
    read.save_adapter(model, args.out)  # read.load_adapter(model, args.out) brings it back

    questions = [annotation.question for annotation in test]
    answers = prompts.written(model, questions)
    pairs = list(zip(questions, answers, strict=True))
    rows = [prediction(question, text) | {"answer": text} for question, text in pairs]
    write_jsonl(Path(args.out) / "answers.jsonl", rows)
    print(f"{'':16}" + "".join(f"{metric:>16}" for metric in SHOWN))
    show(args.strategy, evaluate(rows, test))
    whole = [prediction(question, f"0 to {question.duration}") for question in questions]
    show("the whole video", evaluate(whole, test))
    show("random", random_level(test))


if __name__ == "__main__":
    main()
