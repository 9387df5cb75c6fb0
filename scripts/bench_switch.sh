#!/usr/bin/env bash
# Measures switches of a random model of 1.1 billion parameters in bfloat16: on the disk between two sparse adapters of 1%,
# beside writing and syncing as many bytes; to an adapter of low rank; and in memory, beside fusing low rank. Where
# SHIRA_PEFT_PYTHON names a Python with torch, that scatters and fuses too. The model stays in build/bench (2.3 GB).
set -euo pipefail
export LC_ALL=C
cd "$(dirname "$0")/.."
shira=bin/shira models=build/bench/models dir=build/bench/switch
model=$models/1.1b-bfloat16
mkdir -p "$models" "$dir"

[[ -e $model/model.safetensors ]] || go run ./scripts/randmodel --size 1.1b --dtype bfloat16 "$model"
for seed in 1 2; do
  [[ -d $dir/sparse$seed ]] || go run ./scripts/randmodel --size 1.1b --adapter shira --r 12 --seed $seed "$dir/sparse$seed"
done
[[ -d $dir/low ]] || go run ./scripts/randmodel --size 1.1b --adapter lora --r 32 "$dir/low"
trap '$shira -q switch "$model" --revert >/dev/null' EXIT

echo "== on the disk: seconds of a switch, and of writing and syncing the same bytes; medians of five pairs"
SHIRA_BENCH_MODEL=$PWD/$model SHIRA_BENCH_ADAPTERS="$PWD/$dir/sparse1 $PWD/$dir/sparse2" \
  go test -run '^$' -bench OnDisk -benchtime 5x ./internal/switcher | grep -E '^Benchmark'
for to in sparse1 low; do
  echo "== on the disk: to $to, from the base"
  $shira -q switch "$model" --revert >/dev/null
  $shira -q switch "$model" --to "$dir/$to"
done
$shira -q switch "$model" --revert >/dev/null

echo "== in memory"
$shira -q switch "$model" --bench "$dir/sparse1" "$dir/sparse2"
if [[ -n ${SHIRA_PEFT_PYTHON:-} ]]; then
  echo "== in memory, PyTorch: microseconds of index_copy_ of 1% and of adding B·A of rank 64, n×n"
  "$SHIRA_PEFT_PYTHON" scripts/peer_switch.py
fi
