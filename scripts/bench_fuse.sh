#!/usr/bin/env bash
# Fuses adapters into a random 1.1B model in bfloat16 and prints the time beside that of `cp` and `sync` of the same file in
# the same minutes, the median of RUNS (3) pairs, as a table in Markdown.
#
#   scripts/bench_fuse.sh [SIZE]     another size of scripts/randmodel, e.g. 110m
#
# Models stay in build/bench, 3 GB, for the next time; another 2.2 GB are needed meanwhile.
set -euo pipefail
export LC_ALL=C
cd "$(dirname "$0")/.."
size=${1:-1.1b} runs=${RUNS:-3} shira=bin/shira dir=build/bench
model=$dir/models/$size-bfloat16 work=$dir/fuse

make -s build
mkdir -p "$work"
trap 'rm -rf "$work/copy" "$work/out"' EXIT
go build -o "$dir/randmodel" ./scripts/randmodel
[[ -e $model/model.safetensors ]] || "$dir/randmodel" --size "$size" --dtype bfloat16 "$model" >&2
for adapter in shira-1 shira-2 lora-1; do
  [[ -e $work/$size-$adapter/adapter_config.json ]] ||
    "$dir/randmodel" --size "$size" --adapter "${adapter%-*}" --r 32 --seed "${adapter#*-}" "$work/$size-$adapter" >&2
done

# seconds CMD...: how long it takes, with what it wrote brought to the disk.
seconds() {
  local start
  start=$(date +%s.%N)
  "$@" >&2
  echo "$(date +%s.%N) $start" | awk '{ print $1 - $2 }'
}
copy() { cp "$model/model.safetensors" "$work/copy" && sync "$work/copy"; }
fuse() { "$shira" fuse "$model" "$@" -o "$work/out" --json -q >"$work/report.json"; }
median() { sort -g | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }

# bench NAME ADAPTER...: a row of the table.
bench() {
  local name=$1 i copies='' fusions='' peak=''
  shift
  cat "$model/model.safetensors" "${@/%//adapter_model.safetensors}" >/dev/null # cached for both
  for ((i = 0; i < runs; i++)); do
    rm -rf "$work/copy" "$work/out"
    sync
    copies+=$(seconds copy)$'\n'
    rm -f "$work/copy"
    sync
    fusions+=$(seconds fuse "$@")$'\n'
    peak+=$(awk -F'[:,]' '/"peak_rss_bytes"/ { print int($2 / 1048576) }' "$work/report.json")$'\n'
  done
  awk -v name="$name" -v c="$(printf %s "$copies" | median)" -v f="$(printf %s "$fusions" | median)" -v p="$(printf %s "$peak" | median)" \
    'BEGIN { printf "| %s | %.2f | %.2f | %.2f | %d |\n", name, c, f, f / c, p }'
}

printf '| %s, bfloat16 | cp + sync, s | fuse, s | ratio | peak MiB |\n| --- | --: | --: | --: | --: |\n' "$size"
bench 'two SHiRA, r = 32' "$work/$size-shira-1" "$work/$size-shira-2"
bench 'one LoRA, r = 32' "$work/$size-lora-1"
