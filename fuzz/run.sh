#!/usr/bin/env bash
# Fuzzes the readers of files: fuzz/run.sh SECONDS [TARGET ..], all targets without names. From the root of a clone where
# `cargo xtask libtorch` has run.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:-60}; shift || true
# libtorch keeps memory for good on purpose, so leaks say nothing; no sanitizer, since libtorch is compiled without one.
export LD_LIBRARY_PATH=$PWD/.libtorch/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH} OMP_NUM_THREADS=1
# Readers of files are given files in memory, which takes a tenth of the time.
[ ! -d /dev/shm ] || export TMPDIR=/dev/shm
targets=("$@"); [ $# -gt 0 ] || mapfile -t targets < <(cargo +nightly fuzz list)
for target in "${targets[@]}"; do
  echo "== $target"
  mkdir -p "fuzz/corpus/$target"
  cargo +nightly fuzz run -s none "$target" "fuzz/corpus/$target" "fuzz/seeds/$target" -- -max_total_time="$seconds" -rss_limit_mb=4096 -timeout=20 -detect_leaks=0 -print_final_stats=1
done
