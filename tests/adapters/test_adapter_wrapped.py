"""Models that others have put something around, or into: torch's wrappers, peft, transformers' files."""

import pytest
import torch
import torch.distributed as dist
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from safetensors.torch import load_file
from torch import nn
from torch.distributed.fsdp import FullyShardedDataParallel, fully_shard
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, TensorDataset

from read.adapters import (
    AdapterConfig,
    activate,
    alignment_states,
    apply_strategy,
    deactivate,
    inject,
    load_adapter,
    remove,
    save_adapter,
    trainable_parameters,
)
from read.adapters.io import WEIGHTS, backbone_digest
from read.alignment import Alignment
from read.errors import InputError


class Layered(nn.Module):
    """A model that can be sharded; its tokens are of video and of text."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.ModuleList([nn.Linear(8, 8), nn.Linear(8, 8)])

    def feed_forward_blocks(self):
        return {f"layers.{i}": layer for i, layer in enumerate(self.layers)}

    def segments(self, tokens):
        from read.backbones import Segment

        return [Segment("video", 0, 3, None), Segment("text", 3, tokens.shape[1], None)]

    def forward(self, tokens):
        for layer in self.layers:
            tokens = tokens + layer(tokens)
        return tokens


@pytest.fixture
def alone(tmp_path):
    """A group of one process."""
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/meeting", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.fixture
def accelerated():
    """What accelerate keeps for the whole process is forgotten."""
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


WRAPPERS = {
    "DataParallel": nn.DataParallel,
    "DistributedDataParallel": DistributedDataParallel,
    "OptimizedModule": lambda model: torch.compile(model, backend="eager"),
    "fully_shard": lambda model: fully_shard(model, mesh=dist.init_device_mesh("cpu", (1,))),
}


@pytest.mark.parametrize("kind", WRAPPERS)
def test_what_a_wrapper_holds_is_saved_and_counted(alone, awake, tmp_path, kind):
    model = awake(apply_strategy("read_pvla", Layered(), mixer="none"))
    save_adapter(model, tmp_path / "plain")
    names, digest = trainable_parameters(model).names, backbone_digest(model)
    wrapped = WRAPPERS[kind](model)
    assert trainable_parameters(wrapped).names == names
    assert backbone_digest(wrapped) == digest
    save_adapter(wrapped, tmp_path / "wrapped")
    for one, other in ((load_file(tmp_path / folder / WEIGHTS) for folder in ("plain", "wrapped")),):
        torch.testing.assert_close(one, other, atol=0, rtol=0)
    wrapped(torch.randn(2, 5, 8))
    assert alignment_states(wrapped)[0].video.shape == (2, 3, 8)


@pytest.mark.parametrize("kind", ["DistributedDataParallel", "fully_shard"])
def test_what_took_note_of_the_parameters_refuses_a_change(alone, awake, tmp_path, kind):
    """Its gradients would not be put together, and no word said."""
    save_adapter(inject(Layered()), tmp_path / "adapter")
    wrapped = WRAPPERS[kind](inject(Layered(), name="first"))
    changes = (
        lambda: inject(wrapped),
        lambda: apply_strategy("read", wrapped, adapter="other"),
        lambda: load_adapter(wrapped, tmp_path / "adapter"),
        lambda: deactivate(wrapped),
        lambda: activate(wrapped, "first"),
        lambda: remove(wrapped, "first"),
    )
    for change in changes:
        with pytest.raises(InputError, match="before"):
            change()


def test_wrappers_that_took_no_note_take_adapters(awake, tmp_path):
    tokens = torch.randn(2, 5, 8)
    for wrap in (nn.DataParallel, WRAPPERS["OptimizedModule"]):
        wrapped = wrap(Layered())
        plain = wrapped(tokens)
        assert inject(wrapped, AdapterConfig(mixer="conv")) is wrapped
        changed = awake(wrapped)(tokens)
        assert not torch.equal(changed, plain)
        save_adapter(wrapped, tmp_path / "adapter")
        deactivate(wrapped)
        assert torch.equal(wrapped(tokens), plain)
        load_adapter(wrapped, tmp_path / "adapter", adapter="again")
        assert torch.equal(wrapped(tokens), changed)
        remove(wrapped, "again")
        remove(wrapped, "default")


def test_flat_shards_are_refused(alone, tmp_path):
    wrapped = FullyShardedDataParallel(inject(Layered()), use_orig_params=True, device_id=torch.device("cpu"))
    with pytest.raises(InputError, match="fully_shard"):
        save_adapter(wrapped, tmp_path / "adapter")


def test_layers_that_are_compiled_by_themselves_keep_their_names(awake, tmp_path):
    model = Layered()
    model.layers[0] = torch.compile(model.layers[0], backend="eager")
    model.feed_forward_blocks = lambda: {"layers.0._orig_mod": model.layers[0], "layers.1": model.layers[1]}
    save_adapter(awake(inject(model)), tmp_path / "adapter")
    tokens = torch.randn(2, 5, 8)
    torch.testing.assert_close(load_adapter(Layered(), tmp_path / "adapter")(tokens), model(tokens))


def as_it_is(model, folder):
    model.save_pretrained(folder)


def unwrapped(model, folder):
    accelerator = Accelerator(cpu=True)
    main = {"is_main_process": accelerator.is_main_process}
    accelerator.unwrap_model(accelerator.prepare(model)).save_pretrained(folder, **main)


def unwrapped_with_state(model, folder):
    accelerator = Accelerator(cpu=True)
    prepared = accelerator.prepare(model)
    given = {"save_function": accelerator.save, "state_dict": accelerator.get_state_dict(prepared)}
    main = {"is_main_process": accelerator.is_main_process}
    accelerator.unwrap_model(prepared).save_pretrained(folder, **main, **given)


@pytest.mark.parametrize(
    ("strategy", "save"),
    [("read", as_it_is), ("prompt", as_it_is), ("read", unwrapped), ("prompt", unwrapped_with_state)],
)
def test_save_pretrained_writes_the_backbone(transformer, awake, accelerated, tmp_path, strategy, save):
    model, inputs = transformer("bart")
    keys = set(model.state_dict())
    model.save_pretrained(tmp_path / "before")
    with torch.no_grad():
        plain = model(**inputs).logits
    adapted = awake(apply_strategy(strategy, model))
    save(adapted, tmp_path / "after")
    before, after = (load_file(tmp_path / folder / "model.safetensors") for folder in ("before", "after"))
    assert set(before) == set(after) <= keys
    loaded, facts = type(model).from_pretrained(tmp_path / "after", output_loading_info=True)
    assert not any(facts[kind] for kind in ("unexpected_keys", "missing_keys", "mismatched_keys"))
    save_adapter(adapted, tmp_path / "adapter")
    with torch.no_grad():
        assert torch.equal(loaded.eval()(**inputs).logits, plain)
        load_adapter(loaded, tmp_path / "adapter")
        assert torch.equal(loaded(**inputs).logits, adapted(**inputs).logits)


@pytest.mark.parametrize("precision", ["no", "bf16"])
def test_accelerate_trains_saves_and_resumes(accelerated, tmp_path, precision):
    tokens, align = torch.randn(12, 5, 8), Alignment()

    def prepared():
        model = apply_strategy("read_pvla", Layered(), mixer="gru")
        optimizer = torch.optim.AdamW([each for each in model.parameters() if each.requires_grad], lr=1e-2)
        accelerator = Accelerator(cpu=True, mixed_precision=precision)
        return accelerator, *accelerator.prepare(model, optimizer, DataLoader(TensorDataset(tokens), batch_size=4))

    def epoch(accelerator, model, optimizer, loader):
        for (batch,) in loader:
            accelerator.backward((model(batch) - 1).square().mean() + align(model))
            optimizer.step()
            optimizer.zero_grad()
        return {name: value.detach().clone() for name, value in model.named_parameters()}

    fresh, (accelerator, model, *others) = apply_strategy("read_pvla", Layered(), mixer="gru"), prepared()
    names = trainable_parameters(fresh).names
    assert trainable_parameters(model).names == names
    first = epoch(accelerator, model, *others)
    accelerator.save_state(tmp_path / "state")
    through = epoch(accelerator, model, *others)
    assert {name for name in through if not torch.equal(through[name], first[name])} == {*names}
    assert all(torch.equal(value, through[name]) for name, value in Layered().named_parameters())

    accelerator, model, *others = prepared()
    accelerator.load_state(tmp_path / "state")
    torch.testing.assert_close(epoch(accelerator, model, *others), through, atol=0, rtol=0)
    save_adapter(model, tmp_path / "adapter")
    loaded = load_adapter(accelerator.prepare(Layered()), tmp_path / "adapter")
    torch.testing.assert_close(dict(loaded.named_parameters()), through, atol=0, rtol=0)
    assert torch.equal(loaded(tokens), model(tokens))


def test_a_trainer_goes_on_from_its_checkpoint(transformer, tmp_path):
    from transformers import Trainer, TrainingArguments

    model, inputs = transformer("bart")
    words = [{"input_ids": row, "labels": row} for row in inputs["input_ids"]]

    def train(model, steps, **resume):
        settings = TrainingArguments(
            str(tmp_path / "run"), max_steps=steps, per_device_train_batch_size=3, learning_rate=1e-2, report_to=[],
            use_cpu=True, save_strategy="steps", save_steps=2, disable_tqdm=True, lr_scheduler_type="constant",
        )  # fmt: skip
        Trainer(model, settings, train_dataset=words).train(**resume)
        return {name: value.detach().clone() for name, value in model.named_parameters() if value.requires_grad}

    through = train(inject(model, AdapterConfig(mixer="rnn")), 4)
    fresh = inject(transformer("bart")[0], AdapterConfig(mixer="rnn"))
    torch.testing.assert_close(
        train(fresh, 4, resume_from_checkpoint=str(tmp_path / "run" / "checkpoint-2")), through, atol=1e-5, rtol=1e-4
    )


# precision


@pytest.mark.parametrize("placement", ["sequential", "parallel"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_t5_whose_layers_end_in_another_precision(awake, placement, dtype):
    """In half precision the last weight of its feed-forward blocks stays in float32, and so do their tokens."""
    hf = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = hf.T5Config(
        vocab_size=60, d_model=16, d_kv=8, d_ff=24, num_layers=2, num_heads=2, decoder_start_token_id=0
    )
    model = hf.T5ForConditionalGeneration(config).to(dtype).eval()
    for block in (*model.encoder.block, *model.decoder.block):
        block.layer[-1].DenseReluDense.wo.float()
    words = torch.randint(3, 60, (2, 5))
    inputs = {"input_ids": words, "decoder_input_ids": words}
    with torch.no_grad():
        before = model(**inputs).logits
        inject(model, AdapterConfig(after=("attention", "feed_forward"), placement=placement))
        assert torch.equal(model(**inputs).logits, before)
        half = awake(model, scale=0.1)(**inputs).logits
        expected = model.float()(**inputs).logits
    torch.testing.assert_close(half.float(), expected, atol=0.1, rtol=0.1)


def test_a_backbone_in_another_precision_is_told_from_another_one(univtg, batch, awake, tmp_path):
    half = univtg().bfloat16()
    save_adapter(awake(inject(half)), tmp_path / "half")
    again = load_adapter(univtg(), tmp_path / "half")  # in full precision, of which the other one is the rounding
    weights = load_file(tmp_path / "half" / WEIGHTS)
    assert all(torch.equal(value, weights[name.replace(".default", "", 1)].float())
               for name, value in again.named_parameters() if value.requires_grad)  # fmt: skip
    save_adapter(awake(inject(univtg())), tmp_path / "full")
    for other in (univtg().bfloat16(), univtg(layers=3)):
        with pytest.raises(InputError, match="other_precision=True"):
            load_adapter(other, tmp_path / "full")
    loaded = load_adapter(univtg().bfloat16(), tmp_path / "full", other_precision=True)
    torch.testing.assert_close(loaded(**{key: value.bfloat16() if value.is_floating_point() else value
                                         for key, value in batch.items()})["spans"].float(),
                               awake(inject(univtg()))(**batch)["spans"], atol=0.1, rtol=0.1)  # fmt: skip
