"""Video models of transformers: each family small, against the model called directly, and without a hub."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
import transformers

from pipeline import paths
from pipeline.stages import encoders
from read.bundle.shapes import check_encoder
from read.encoders.base import Framing, Material, Wants
from read.encoders.extractor import Extractor, ExtractorSettings
from read.encoders.frames import read_views, write_video
from read.encoders.kinds.hf_video import FAMILIES, HFVideo, sight, wants_of
from read.encoders.kinds.xclip import XCLIP
from read.errors import InputError
from read.files import read_json, write_json
from tests.encoders import hub

SIDE, SENTENCES = 32, ["a cat sits", "the dog jumps over the fence", "rain " * 30]
_SIZES = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
_VISION = {"image_size": SIDE, "patch_size": 16}
CONFIGS = {
    "videomae": transformers.VideoMAEConfig(**_SIZES, **_VISION, num_frames=4, decoder_num_hidden_layers=1),
    "vjepa2": transformers.VJEPA2Config(
        crop_size=SIDE, patch_size=16, frames_per_clip=4, hidden_size=24, num_hidden_layers=2, num_attention_heads=2,
        num_pooler_layers=1, pred_hidden_size=24, pred_num_attention_heads=2, pred_num_hidden_layers=1,
        pred_num_mask_tokens=1,
    ),
    "timesformer": transformers.TimesformerConfig(**_SIZES, **_VISION, num_frames=4),
    "vivit": transformers.VivitConfig(**_SIZES, image_size=SIDE, tubelet_size=[2, 16, 16], num_frames=4),
}  # fmt: skip


def shaken(model):
    """Whatever begins as 0 or 1 counts as well."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model.eval()


def make(kind, source):
    return kind.make({"model": str(source)}, Material(None, 16, source, "cpu", None))


@pytest.fixture(scope="module")
def clips():
    return np.random.default_rng(0).integers(0, 255, (3, 9, SIDE, SIDE, 3), dtype=np.uint8)


@pytest.mark.parametrize("classifier", [False, True], ids=["plain", "classifier"])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_clip_is_what_the_models_own_head_reads(family, classifier, clips, tmp_path):
    torch.manual_seed(0)
    kind = getattr(transformers, FAMILIES[family][classifier])
    model = shaken(kind(CONFIGS[family]))
    model.save_pretrained(tmp_path / "hub")
    processor = getattr(transformers, FAMILIES[family].processor)(crop_size={"height": SIDE, "width": SIDE})
    processor.save_pretrained(tmp_path / "hub")
    encoder = make(HFVideo, tmp_path / "hub")
    frames = [torch.from_numpy(clip[[0, 2, 4, 6]]).movedim(-1, 1) for clip in clips]
    asked = processor(frames, do_resize=False, do_center_crop=False, return_tensors="pt")
    read = []
    if classifier:
        model.classifier.register_forward_pre_hook(lambda module, given: read.append(given[0]))
    with torch.inference_mode():
        states = getattr(model(**asked), "last_hidden_state", None)
    wanted = read[0] if classifier else states[:, 0] if family in ("timesformer", "vivit") else states.mean(1)
    found = encoder.video(clips)
    np.testing.assert_allclose(found, wanted, atol=2e-6)
    assert found.dtype == np.float32 and found.shape == (3, encoder.dim) and wanted.std() > 0.01
    np.testing.assert_allclose(encoder.video(clips[1:2]), found[1:2], atol=2e-6)

    encoder.save(tmp_path / "kept")
    (tmp_path / "hub").rename(tmp_path / "away")
    loaded = HFVideo.load(tmp_path / "kept")
    check_encoder("hf_video", tmp_path / "kept")
    assert loaded.identity == encoder.identity and not any("predictor" in key for key in loaded.model.state_dict())
    np.testing.assert_array_equal(loaded.video(clips), found)
    assert HFVideo.wanted({"model": str(tmp_path / "away")}) == loaded.wants
    short = {"videomae": 224, "vjepa2": 36, "timesformer": 224, "vivit": 256}[family]  # as the processors have it
    assert loaded.wants == Wants(SIDE, 4, short=short)
    assert loaded.wants.view == Framing(SIDE, short=short) and Wants(224, short=224).view == Framing(224)


@pytest.mark.parametrize(
    "told, view",
    [
        ({"size": {"shortest_edge": 40}}, Framing(SIDE, short=40)),
        ({"size": {"height": SIDE, "width": SIDE}}, Framing(SIDE, squash=True)),
        ({"size": {"height": SIDE, "width": SIDE}, "do_center_crop": False}, Framing(SIDE, squash=True)),
        ({"size": {"shortest_edge": SIDE}, "do_center_crop": False}, Framing(SIDE)),
        ({"size": {"height": 40, "width": 40}}, "presses pictures into"),
    ],
)
def test_pictures_are_cut_or_pressed_as_the_processor_says(tmp_path, told, view):
    processor = transformers.VideoMAEVideoProcessor(**{"crop_size": {"height": SIDE, "width": SIDE}} | told)
    processor.save_pretrained(tmp_path)
    if isinstance(view, str):
        with pytest.raises(InputError, match=view):
            sight("VideoMAEVideoProcessor", CONFIGS["videomae"], tmp_path)
    else:
        assert wants_of(sight("VideoMAEVideoProcessor", CONFIGS["videomae"], tmp_path)).view == view


@pytest.fixture(scope="module")
def xclip(tmp_path_factory):
    """A folder as the hub has it, and the model in it."""
    folder = tmp_path_factory.mktemp("xclip") / "tiny-xclip"
    torch.manual_seed(0)
    text = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
    vision = _SIZES | _VISION | {"num_frames": 4, "mit_hidden_size": 20, "mit_num_hidden_layers": 1}
    vision |= {"mit_intermediate_size": 24, "mit_num_attention_heads": 2}
    own = {"vocab_size": 90, "max_position_embeddings": 12, "eos_token_id": 1, "pad_token_id": 1, "bos_token_id": 0}
    config = transformers.XCLIPConfig(
        text_config=text | own, vision_config=vision, projection_dim=20, prompt_num_attention_heads=2
    )
    model = shaken(transformers.XCLIPModel(config))
    model.save_pretrained(folder)
    hub.sentencepiece_like(folder)
    transformers.VideoMAEVideoProcessor(size=SIDE, crop_size={"height": SIDE, "width": SIDE}).save_pretrained(folder)
    return folder, model


def test_xclip_has_clips_and_sentences_in_one_space(xclip, clips, tmp_path):
    folder, model = xclip
    encoder = make(XCLIP, folder)
    processor = transformers.VideoMAEVideoProcessor.from_pretrained(folder)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    frames = [torch.from_numpy(clip[[0, 2, 4, 6]]).movedim(-1, 1) for clip in clips]
    pixels = processor(frames, do_resize=False, do_center_crop=False, return_tensors="pt").pixel_values
    asked = tokenizer(SENTENCES, padding="max_length", max_length=12, truncation=True, return_tensors="pt")
    words = {key: asked[key] for key in ("input_ids", "attention_mask")}
    with torch.inference_mode():
        seen = model.get_video_features(pixels).pooler_output
        states = model.text_model(**words)
        said = model.text_projection(states.pooler_output)
        whole = model(pixel_values=pixels, **words)
    np.testing.assert_allclose(encoder.video(clips), seen, atol=2e-6)
    np.testing.assert_allclose(torch.nn.functional.normalize(seen, dim=-1), whole.video_embeds, atol=2e-6)
    texts, sentences = encoder.read(SENTENCES)
    np.testing.assert_allclose(sentences, said, atol=2e-6)
    for row, state, mask, sentence in zip(
        texts, states.last_hidden_state, words["attention_mask"], SENTENCES, strict=True
    ):
        np.testing.assert_allclose(row, state[mask.bool()], atol=2e-6)
        assert len(encoder.words(sentence)) == len(row)
    assert (encoder.dim, encoder.text_dim, encoder.joint) == (20, 16, True)

    encoder.save(tmp_path / "xclip")
    check_encoder("xclip", tmp_path / "xclip")
    loaded = XCLIP.load(tmp_path / "xclip")
    assert loaded.identity == encoder.identity and loaded.config["name"] == "tiny-xclip"
    np.testing.assert_array_equal(loaded.sentences(SENTENCES), sentences)
    np.testing.assert_array_equal(loaded.video(clips), encoder.video(clips))
    with pytest.raises(InputError, match=r"\[1\] of 2 are empty"):
        loaded.text(["a", " "])


@pytest.mark.video
def test_from_the_stage_to_features(xclip, tmp_path, monkeypatch):
    """Under names of one's own, beside each other; the first that reads text has the joint space."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("READ_MACHINE", '{"device": "cpu"}')
    transformers.TimesformerModel(CONFIGS["timesformer"]).save_pretrained("hub")
    transformers.TimesformerVideoProcessor(size=40, crop_size={"height": SIDE, "width": SIDE}).save_pretrained("hub")
    entries = {
        "motion": {"kind": "hf_video", "model": "hub"},
        "both": {"kind": "xclip", "model": str(xclip[0])},
    }
    settings = SimpleNamespace(clip_len=1.0, extract=SimpleNamespace(fps=8.0), encoders=entries)
    for entry in entries:
        encoders.make(entry, settings, tmp_path)
    few = SimpleNamespace(**vars(settings) | {"extract": SimpleNamespace(fps=2.0)})
    with pytest.raises(InputError, match=r"encoder motion takes 4 frames of a clip, but fps x clip_len gives 2"):
        encoders.make("motion", few, tmp_path)
    write_video("a.mp4", np.random.default_rng(0).integers(0, 255, (20, 48, 64, 3), dtype=np.uint8), 8)
    extractor = Extractor(ExtractorSettings(fps=8.0, clip_len=1.0, decoders=2), paths.ENCODERS, names=[*entries])
    arrays = extractor.video("a.mp4").arrays
    assert {name: rows.shape for name, rows in arrays.items()} == {"motion": (3, 24), "both": (3, 20)}
    assert extractor.spec["joint"] == "both" and extractor.views["motion"] == Framing(SIDE, short=40)
    for name, encoder in extractor.encoders.items():
        clips = [clip for (clip,), _ in read_views("a.mp4", 8.0, 1.0, [extractor.views[name]])]
        np.testing.assert_allclose(arrays[name], encoder.video(np.stack(clips)), atol=1e-5)


def test_what_is_no_such_model_is_one_message(xclip, tmp_path):
    with pytest.raises(InputError, match="absent: no AutoConfig can be read here"):
        HFVideo.wanted({"model": str(tmp_path / "absent")})
    with pytest.raises(InputError, match="tiny-xclip: is an X-CLIP, which reads sentences too"):
        make(HFVideo, xclip[0])
    hub.text_model(tmp_path / "bert", "bert")
    for kind, wanted in ((HFVideo, "bert: is a bert; video models are videomae"), (XCLIP, "is a bert, no X-CLIP")):
        with pytest.raises(InputError, match=wanted):
            make(kind, tmp_path / "bert")
    model = transformers.VideoMAEModel(CONFIGS["videomae"])
    model.save_pretrained(tmp_path / "mae")
    with pytest.raises(InputError, match="mae: no VideoMAEVideoProcessor can be read here"):
        make(HFVideo, tmp_path / "mae")
    transformers.VideoMAEVideoProcessor().save_pretrained(tmp_path / "mae")
    with pytest.raises(InputError, match="makes pictures of 224 x 224 pixels, its model takes 32"):
        make(HFVideo, tmp_path / "mae")
    transformers.VideoMAEVideoProcessor(crop_size={"height": SIDE, "width": SIDE}).save_pretrained(tmp_path / "mae")
    write_json(tmp_path / "mae/config.json", read_json(tmp_path / "mae/config.json") | {"hidden_size": 26})
    with pytest.raises(InputError, match=r"mae: .*VideoMAEModel"):
        make(HFVideo, tmp_path / "mae")
