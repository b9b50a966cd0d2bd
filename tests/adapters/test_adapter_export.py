"""Adapted models exported by torch and to ONNX: other lengths than those of the export give what eager mode gives."""

import pytest
import torch
from torch.export import Dim

from read.adapters import AdapterConfig, inject
from tests.adapters.test_adapter_compile import output, sentences, subjects  # noqa: F401

EXPORTED, LATER = (3, 9), [(2, 17), (5, 6)]  # samples, tokens
FORMS = [
    ("bert", {"mixer": "gru", "bidirectional": True, "targets": ("layer.0.output.dense",)}),
    pytest.param("bert", {"mixer": "lstm", "targets": ("layer.1.output.dense",)}, marks=pytest.mark.slow),
    pytest.param("llama", {"mixer": "rnn"}, marks=pytest.mark.slow),
    ("llama", {"mixer": "mingru"}),
]


def dynamic(batch):
    return {name: {0: Dim.AUTO, 1: Dim.AUTO} for name in batch}


@pytest.fixture
def adapted(subjects, awake):  # noqa: F811
    def make(kind, form):
        model, targets, batch = subjects(kind)
        model = awake(inject(model, AdapterConfig(**({"targets": targets} | form)))).eval()
        if kind == "llama":
            model.config.use_cache = False  # a program gives no cache back
        return model, batch

    return make


@pytest.mark.slow
def test_a_program_of_torch_runs_at_other_lengths(adapted, tmp_path):
    model, batch = adapted("univtg", {"mixer": "gru", "bidirectional": True, "targets": ("linear2",)})
    program = torch.export.export(model, (), batch(*EXPORTED), dynamic_shapes=dynamic(batch(*EXPORTED)))
    torch.export.save(program, tmp_path / "model.pt2")
    again = torch.export.load(tmp_path / "model.pt2").module()
    for sizes in LATER:
        torch.testing.assert_close(output(again(**batch(*sizes))), output(model(**batch(*sizes))))
    assert not any("read." in str(node.target) for node in program.graph.nodes), "of plain operators"


@pytest.mark.parametrize(("kind", "form"), FORMS, ids=lambda part: part if isinstance(part, str) else part["mixer"])
def test_onnx_runs_at_other_lengths(adapted, tmp_path, kind, form):
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    model, batch = adapted(kind, form)
    given = batch(*EXPORTED)
    program = torch.onnx.export(model, (), kwargs=given, dynamic_shapes=dynamic(given), dynamo=True, verbose=False)
    program.save(tmp_path / "model.onnx")
    session = runtime.InferenceSession(tmp_path / "model.onnx")
    for sizes in LATER:
        (got,) = session.run(None, {name: value.numpy() for name, value in batch(*sizes).items()})
        torch.testing.assert_close(torch.from_numpy(got), output(model(**batch(*sizes))), atol=1e-5, rtol=1e-4)
