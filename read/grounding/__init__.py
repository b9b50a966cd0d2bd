"""Temporal grounding: the moments and highlights that a sentence describes, learned and predicted."""
