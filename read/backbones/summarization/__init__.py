"""Small text models for summarization, one file each; the stem of a file is the name that params.yaml knows."""
