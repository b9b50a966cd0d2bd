"""As the data loaders of UMT take them (Liu et al. 2022): colour before flow, and sound where a card asks for it."""

from read.data.packages import Files, Form

ENCODERS = ("rgb", "opt")
SOUND = ("audio", "opt")  # on Charades flow may take the place of sound: umt_base_vo
FORMS = (
    Form(
        {"rgb": Files("video_features/{vid}_rgb.npy"), "opt": Files("video_features/{vid}_opt.npy")},
        Files("query_features/{vid}.npz", "token"),
        sound={"audio": Files("audio_features/{vid}.npy")},
    ),  # TVSum, and YouTube Highlights, which has no queries
    Form({"rgb": Files("rgb_features/{vid}.npy"), "opt": Files("opt_features/{vid}.npy")}),  # Charades
    Form({"rgb": Files("rgb_features/{vid}.npy"), "audio": Files("audio_features/{vid}.npy")}),  # Charades, with sound
)
