"""What a model says of a video, as a page takes it."""

from typing import Any


def answer_told(predictor: Any, video: Any, name: str, query: str, adapter: str) -> dict[str, Any]:
    """An answer as JSON: moments and saliency, whether any reaches the bar, what that rests on, unknown words.

    Args:
        predictor: a `read.predictor.Predictor`, or what answers in its place.
        video: one that it encoded.
        name: what the person calls the video.
        query: a sentence.
        adapter: a name of the predictor's.

    Raises:
        InputError: as `EncodedVideo.answer`.
    """
    (found,) = video.answer([query], adapter)
    bar = predictor.threshold(adapter)
    moments = [dict(zip(("start", "end", "score"), map(float, moment), strict=True)) for moment in found.moments]
    return {
        "video": name, "duration": video.duration, "clip_len": video.clip_len, "query": query,
        "adapter": adapter, "threshold": bar, "caution": predictor.caution(adapter), "moments": moments,
        "saliency": [float(value) for value in found.saliency],
        "present": bar is None or any(moment["score"] >= bar for moment in moments),
        "unknown_words": predictor.unknown_words(query),
    }  # fmt: skip
