"""The report stage's parts: what was measured comes in, one page and flat tables go out."""
