"""A file a video and a file a query, with an array of each of the encoders that the card names."""

from read.data.packages import ENCODER, Files, Form

ENCODERS = ()  # the card's
FORMS = (
    Form(
        {ENCODER: Files("videos/{vid}.npz", ENCODER)},
        Files("queries/{qid}.npz", "tokens"),
        Files("queries/{qid}.npz", "sentence"),
    ),
)
