"""Video summarization: a short text from a transcript and frames, learned and written."""
