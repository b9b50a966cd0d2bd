#!/usr/bin/env bash
# What a GPU gives, in about five minutes: the tests that need one, a training step of READ beside the same bottleneck
# without its cell and full fine-tuning at published sizes, and exact against entropic transport.
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
    timeout 90 "$python" -m "$@" 2>&1 || { failed=1; echo "failed: $*"; }
}
# shellcheck disable=SC2046
run pytest -q -m gpu -p no:cacheprovider $(grep -rl "mark.gpu" tests)
run benchmarks.adapters --device cuda --size published --batch 32
run benchmarks.summarization --device cuda
run benchmarks.transport --device cuda --rounds 5 --repeats 5
exit $failed
