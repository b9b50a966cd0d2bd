"""The benchmarks' ways to score, a file each with a `PROTOCOL`; the stem is the name that cards know."""
