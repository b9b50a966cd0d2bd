"""Fine-tuning strategies, one file each; `registry` finds them."""
