"""As the data loader of Moment-DETR takes them (Lei et al. 2021), and that of UMT on QVHighlights, which listens."""

from read.data.packages import Files, Form

ENCODERS = ("slowfast", "clip")
SOUND = ("pann",)
FORMS = (
    Form(
        {
            "slowfast": Files("slowfast_features/{vid}.npz", "features"),
            "clip": Files("clip_features/{vid}.npz", "features"),
        },
        Files("clip_text_features/qid{qid}.npz", "last_hidden_state"),
        Files("clip_text_features/qid{qid}.npz", "pooler_output"),  # projected, as by CLIP's encode_text
        {"pann": Files("pann_features/{vid}.npy")},
    ),
)
