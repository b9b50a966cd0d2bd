#!/usr/bin/env bash
# What a GPU gives, in at most six minutes: the tests that need one; extraction beside its decoding and its encoding, at the
# sizes of public weights; a training step of READ beside LoRA, the same bottleneck without its cell and full fine-tuning at
# published sizes; summarization; exact transport beside what stays on the device. Each part ends after 75 seconds.
#
#   benchmarks/gpu.sh [PYTHON]
set -uo pipefail
cd "$(dirname "$0")/.."
python=${1:-python}
export PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH}
"$python" -c 'import torch; assert torch.cuda.is_available(), "no CUDA device"; print(torch.cuda.get_device_name(), "torch", torch.__version__)' || exit
failed=0
run() {
    echo "== $*"
    timeout 75 "$python" -m "$@" 2>&1 || { failed=1; echo "failed: $*"; }
}
# shellcheck disable=SC2046
run pytest -q -m gpu -p no:cacheprovider $(grep -rl "mark.gpu" tests)
run benchmarks.extraction --device cuda --encoders public --fps 16 --seconds 20 50 --rounds 2
run benchmarks.adapters --device cuda --size published --batch 32
run benchmarks.summarization --device cuda
run benchmarks.transport --device cuda --rounds 5 --repeats 5
exit $failed
