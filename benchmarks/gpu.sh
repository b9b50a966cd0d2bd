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
run pytest -q -m gpu -p no:cacheprovider tests
run benchmarks.adapters --device cuda --size published --batch 32
run benchmarks.summarization --device cuda
run benchmarks.transport --device cuda
run benchmarks.transport --device cuda --shape 256 75 32 256 --repeats 5
exit $failed
