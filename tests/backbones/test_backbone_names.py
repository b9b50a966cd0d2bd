"""A backbone is known by its file's stem, and so is a class that is made of it at run time."""

from read.backbones import backbone_names, build_backbone, get_backbone, load_backbone


def test_every_backbone_has_its_files_name():
    assert {name: get_backbone(name).name for name in backbone_names()} == {name: name for name in backbone_names()}


def test_a_class_made_of_a_backbone_keeps_its_name(tmp_path):
    """FSDP2's `fully_shard` makes such a class of the model's own."""
    model = build_backbone("univtg", video_dim=4, text_dim=3, hidden=8, layers=1, heads=2, feed_forward=8)
    model.__class__ = type("FSDPUniVTG", (type(model),), {"__module__": "torch.distributed.fsdp"})
    model.save(tmp_path / "saved")
    assert type(load_backbone(tmp_path / "saved")) is get_backbone("univtg")
