"""As the data loaders of UMT take them (Liu et al. 2022): colour before flow."""

from read.data.packages import Files, Form

ENCODERS = ("rgb", "opt")
FORMS = (
    Form(
        {"rgb": Files("video_features/{vid}_rgb.npy"), "opt": Files("video_features/{vid}_opt.npy")},
        Files("query_features/{vid}.npz", "token"),
    ),  # TVSum, and YouTube Highlights, which has no queries
    Form({"rgb": Files("rgb_features/{vid}.npy"), "opt": Files("opt_features/{vid}.npy")}),  # Charades
)
