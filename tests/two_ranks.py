"""What two processes do together and one does alone: `test_ranks` starts both and looks at what they say.

Run as `python -m tests.two_ranks RANK FOLDER`, by which they meet; each writes what became of every check.
"""

import copy
import json
import shutil
import sys
import tempfile
import traceback
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.fsdp import fully_shard

from read import ranks
from read.adapters import apply_strategy, load_adapter, save_adapter, trainable_parameters
from read.alignment import Alignment
from read.backbones import backbone_names
from read.data.joined import Joiner
from read.errors import InputError, NotFiniteError
from read.grounding.inference import forward_batches
from read.grounding.task import Grounding
from read.train import TrainSettings, fit, loss_terms, train_until
from read.tuning import Tuning, tune
from tests.backbones import narrow
from tests.test_train import SIZES, planted, small

CHECKS = {}
CLOSE = {"atol": 1e-6, "rtol": 1e-5}


class Plain:
    """Any backbone and a batch as it is."""

    forward = staticmethod(narrow.forward)

    def losses(self, model, outputs, batch):
        return model.losses(outputs, batch)


def gradients(model, task, batch, alignment=None):
    """Of one step, and what it says of the loss."""
    model.zero_grad()
    model.train()
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    torch.manual_seed(0)
    with ranks.divided(batch):
        terms = loss_terms(model, task, batch, alignment, 0.5)
        told = alignment.cosines(model, batch.get("vids")) if alignment else {}
        ranks.share(sum(terms.values())).backward()
    ranks.sum_gradients(parameters)
    named = {name: value.grad for name, value in model.named_parameters() if value.requires_grad}
    return {name: value.detach() for name, value in (terms | told).items()}, named


def check_step(model, task, batch, alignment=None):
    """That a step of both is that of one, which is taken outside of `together`."""
    alone = gradients(model, task, batch, alignment)
    alone = copy.deepcopy(alone)
    with ranks.together(model):
        both = gradients(model, task, batch, alignment)
    torch.testing.assert_close(both[0], alone[0], **CLOSE)
    assert any(value is not None and value.any() for value in alone[1].values())
    torch.testing.assert_close(both[1], alone[1], **CLOSE)


def rows_of(batch, count):
    return {name: value[:count] for name, value in batch.items()}


def strategy(name, **alignment):
    def check():
        model = narrow.wake(apply_strategy(name, narrow.build("univtg"), **({"rank": 2} if name == "lora" else {})))
        batch = narrow.make_batch("univtg") | {"vids": ["a", "b", "a"]}
        check_step(model, Plain(), batch, Alignment(**alignment) if alignment else None)

    return check


for each in ("read", "prompt", "lora", "full"):
    CHECKS[f"gradients of {each}"] = strategy(each)
for each in ({"contrast": 1.0, "warmup": 0.2}, {"contrast": 1.0, "centred": True}, {"mass": 0.3}):
    CHECKS[f"gradients of read_pvla {each}"] = strategy("read_pvla", **each)


def backbone(name, samples):
    def check():
        check_step(narrow.build(name), Plain(), rows_of(narrow.make_batch(name), samples))

    return check


for each in backbone_names():
    CHECKS[f"gradients of {each}"] = backbone(each, 3)
CHECKS["a batch smaller than the processes"] = backbone("univtg", 1)
CHECKS["a batch smaller than the processes, of qd_detr"] = backbone("qd_detr", 1)


def check(function):
    CHECKS[function.__name__.replace("_", " ")] = function
    return function


@check
def gradients_of_summaries():
    from read.summarization.summarize import make_summary_samples
    from read.summarization.task import Summarization
    from tests.summarization.test_task import SUMMARIES, small, train_tokenizer, video_of

    tokenizer = train_tokenizer([text for one in SUMMARIES for text in (one.transcript, one.summary)] * 2, 320)
    task, samples = Summarization(tokenizer, max_new_tokens=4), make_summary_samples(SUMMARIES, video_of, tokenizer)[0]
    model = small(tokenizer)
    check_step(model, task, task.collate(samples[:5]))
    alone = task.score_videos(model, samples[:5])
    with ranks.together(model):
        assert task.score_videos(model, samples[:5]) == alone


def quiet():
    return narrow.build("univtg", **SIZES | {"drop_path": 0.0})


@check
def a_fit_gives_scores_losses_and_weights_of_one_process():
    """With batches of 7 of which one has 6, of which some are stitched by what is drawn."""
    train, val = planted(20, seed=1), planted(9, seed=2)
    settings = TrainSettings(steps=8, batch_size=7, learning_rate=1e-3, eval_every=4)

    def trained():
        model, task, heard = quiet(), Grounding(joiner=Joiner(train, 12, 0.4)), []
        history = fit(model, task, train, val, settings, on_epoch=heard.append)
        outputs = [each for _, each in forward_batches(model, val, 64)]
        return history, outputs, heard

    both = trained()
    alone = with_one(trained)
    for one, other in zip(both[0].rows, alone[0].rows, strict=True):
        for name in one.keys() - {"seconds"}:
            assert abs(one[name] - other[name]) <= 1e-4 * max(1.0, abs(other[name])), (name, one, other)
    assert both[0].best_step == alone[0].best_step > 0
    for one, other in zip(both[1], alone[1], strict=True):
        torch.testing.assert_close(one["scores"], other["scores"], atol=1e-4, rtol=1e-4)
    assert len(both[2]) == (3 if dist.get_rank() == 0 else 0), "the first process alone tells"


def with_one(run):
    """Run as if this process were alone."""
    several, ranks._several = ranks._several, lambda: False
    try:
        return run()
    finally:
        ranks._several = several


@check
def weights_stay_equal_and_noise_differs():
    model = narrow.wake(apply_strategy("read_pvla", small()))
    train = planted(10, seed=1)
    train_until(model, Grounding(), train, TrainSettings(steps=4, batch_size=5), 4, Alignment(contrast=1.0))
    digests, draws = [None, None], [None, None]
    dist.all_gather_object(digests, model.digest())
    assert digests[0] == digests[1]
    torch.manual_seed(0)
    with ranks.together(model), ranks.divided({"x": [1, 2]}, 0, 1):
        with ranks.own_noise(torch.device("cpu")):
            mine = torch.rand(())
        dist.all_gather_object(draws, (mine.item(), torch.rand(()).item()))
    assert draws[0][0] != draws[1][0] and draws[0][1] == draws[1][1]


@check
def a_parameter_that_nobody_uses_has_no_gradient_and_one_that_one_uses_has():
    first, other, idle = (nn.Parameter(torch.ones(2)) for _ in range(3))
    (first if dist.get_rank() else other).sum().backward()
    with ranks.together(nn.ParameterList([first, other, idle])):
        ranks.sum_gradients([first, other, idle])
    assert first.grad.tolist() == other.grad.tolist() == [1.0, 1.0] and idle.grad is None


@check
def what_one_cannot_do_ends_all_with_its_words():
    train, val, model = planted(6, seed=1), planted(4, seed=2), small()
    steps = TrainSettings(steps=2, batch_size=4, eval_every=1)

    def work(part):
        if dist.get_rank() == 1:
            raise NotFiniteError("query 7: the model's outputs hold NaN")
        return part

    class Half(Grounding):
        def score(self, model, samples):
            return ranks.work_shared(samples, work)

    raises(NotFiniteError, "query 7: the model's", lambda: fit(model, Half(), train, val, steps))
    honest, broken = model.losses, {"giou": torch.tensor(torch.nan if dist.get_rank() else 1.0)}
    model.losses = lambda *args: honest(*args) | broken
    raises(NotFiniteError, "at step 0: ", lambda: fit(model, Grounding(), train, val, steps))


def raises(kind, words, run):
    try:
        run()
    except kind as error:
        assert words in str(error), error
    else:
        raise AssertionError(f"no {kind.__name__}")


@check
def processes_with_samples_of_their_own_are_refused():
    train = planted(6, seed=1)
    mine = train[:3] if dist.get_rank() else train[3:]
    raises(
        InputError,
        "given different settings or samples",
        lambda: fit(small(), Grounding(), mine, train, TrainSettings()),
    )
    broken = type("Broken", (Plain,), {"forward": lambda self, model, batch: {"scores": torch.zeros(7)}})
    batch = narrow.make_batch("moment_detr")
    model = narrow.build("moment_detr")
    with ranks.together(model), ranks.divided(batch):
        raises(
            InputError, "no tensor with a row for each sample", lambda: ranks.gathered(broken().forward(0, 0))["scores"]
        )


@check
def tuning_chooses_as_one_does():
    train, val = planted(18, seed=1)[:12], planted(18, seed=1)[12:]
    settings = TrainSettings(steps=4, batch_size=8, eval_every=2)

    def tuned():
        result = tune(lambda samples: quiet(), Grounding(), train, val, settings, Tuning([1e-3, 1e30], 2))
        return result.learning_rate, result.history.best_step, result.untuned, round(result.gain.mean, 3)

    assert tuned() == with_one(tuned)


def in_shards(model):
    mesh = dist.init_device_mesh("cpu", (2,))
    for layer in model.transformer.encoder.layers:
        fully_shard(layer, mesh=mesh)
    return fully_shard(model, mesh=mesh)


@check
def an_adapter_in_shards_trains_as_a_whole_one():
    """By FSDP2, around layers and the model; each process has half of the batch. Both save it, and load it again."""
    whole, sharded = (narrow.wake(apply_strategy("read", narrow.build("univtg", drop_path=0.0))).eval() for _ in "12")
    names = trainable_parameters(whole).names
    in_shards(sharded)
    batch = rows_of(narrow.make_batch("univtg"), 2)
    mine = {name: value[dist.get_rank() :][:1] for name, value in batch.items()}
    before = copy.deepcopy(whole.state_dict())
    for model, given in ((whole, batch), (sharded, mine)):
        optimizer = torch.optim.SGD([each for each in model.parameters() if each.requires_grad], lr=0.1)
        for _ in range(2):
            optimizer.zero_grad()
            narrow.forward(model, given)["scores"].square().mean().backward()
            optimizer.step()
    assert trainable_parameters(sharded).names == names
    trained = {name: value.full_tensor() for name, value in sharded.named_parameters() if value.requires_grad}
    assert any(not torch.equal(value, before[name]) for name, value in trained.items())
    torch.testing.assert_close(trained, {name: whole.get_parameter(name).detach() for name in trained}, **CLOSE)

    meeting = [tempfile.mkdtemp() if dist.get_rank() == 0 else None]
    dist.broadcast_object_list(meeting)
    folder = Path(meeting[0], "adapter")
    save_adapter(sharded, folder)
    dist.barrier()  # one has written
    loaded = load_adapter(narrow.build("univtg", drop_path=0.0), folder).eval()
    torch.testing.assert_close({name: loaded.get_parameter(name).detach() for name in trained}, trained, atol=0, rtol=0)
    with torch.no_grad():
        expected = narrow.forward(sharded, mine)["scores"]
        assert torch.equal(narrow.forward(in_shards(loaded), mine)["scores"], expected)
    dist.barrier()  # both have read
    shutil.rmtree(meeting[0], ignore_errors=True)


def main(rank, folder):
    options = {"rank": int(rank), "world_size": 2, "timeout": timedelta(seconds=120)}
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", **options)
    said = {}
    for name, each in CHECKS.items():
        try:
            each()
            said[name] = ""
        except Exception:
            said[name] = traceback.format_exc()
    Path(folder, f"{rank}.json").write_text(json.dumps(said))
    dist.destroy_process_group()


if __name__ == "__main__":
    main(*sys.argv[1:])
