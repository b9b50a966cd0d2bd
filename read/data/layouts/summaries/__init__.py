"""How benchmarks publish their summaries: a file each, whose `load` reads the folders of all sides."""
