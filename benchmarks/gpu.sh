#!/usr/bin/env bash
# What training costs on this machine's CUDA card, in at most 8 minutes:
#
#     benchmarks/gpu.sh                        # appends lines of JSON to docs/data/gpu.jsonl, or $OUT/gpu.jsonl
#     PYTHON=/path/to/python benchmarks/gpu.sh # with an interpreter that has rilbench installed
#     benchmarks/gpu.sh --help
#
# Without PYTHON it uses .venv and makes it first, through the Makefile, if there is none; that time comes on top.
set -euo pipefail
cd "$(dirname "$0")/.."
if [ -z "${PYTHON:-}" ]; then
    PYTHON=.venv/bin/python
    [ -x "$PYTHON" ] || make .venv/.test >&2
fi
exec "$PYTHON" benchmarks/gpu.py "$@"
