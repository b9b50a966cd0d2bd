"""Small text models for summarization, one file each."""
