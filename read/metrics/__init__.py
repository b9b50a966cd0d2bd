"""Scores of grounding and highlights that agree with the published evaluators."""
