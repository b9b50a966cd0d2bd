"""How benchmarks publish their queries: a file each, whose `convert` turns a public row into one of ours."""
