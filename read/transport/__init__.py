"""Partial optimal transport between two sets of tokens, and the alignment losses on top of it."""

from read.transport.certificate import Certificate, certificate
from read.transport.loss import mean_pooled_loss, pairwise_cost, partial_alignment_loss
from read.transport.plan import Solver, partial_distance, partial_transport

__all__ = [
    "Certificate",
    "Solver",
    "certificate",
    "mean_pooled_loss",
    "pairwise_cost",
    "partial_alignment_loss",
    "partial_distance",
    "partial_transport",
]
