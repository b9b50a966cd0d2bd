"""Scores of grounding, highlights and summaries that agree with the published evaluators."""
