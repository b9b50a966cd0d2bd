"""Bundles: adapted models packed for use elsewhere, laid out as models of the Hugging Face hub are."""

from read.bundle.folder import Bundle, differences
from read.bundle.pack import export

__all__ = ["Bundle", "differences", "export"]
