#!/usr/bin/env bash
# Trains a SHiRA adapter for one of the demo tasks, evaluates it, fuses it into the base, evaluates the fused model, and
# checks that fused and unfused score the same. Usage: scripts/demo.sh [ending|quiz|pirate]
set -euo pipefail
cd "$(dirname "$0")/.."
task=${1:-ending}
shira=bin/shira base=demo/base adapter=build/demo/$task fused=build/demo/$task-fused
rm -rf "$adapter" "$fused"

say() { printf '\n$ %s\n' "$*"; "$@"; }
# loss MODEL FILE [flags]: the mean loss per counted token
loss() {
  "$shira" eval "$1" --data "$2" --json -q "${@:3}" | sed -n 's/^ *"loss": \([0-9.e+-]*\),*$/\1/p'
}

say "$shira" train --config "demo/$task.yaml"
say "$shira" fuse "$base" "$adapter" -o "$fused"
say "$shira" inspect "$adapter"

test=demo/tasks/$task/test.jsonl stories=demo/tasks/stories/test.jsonl
before=$(loss $base $test) before_stories=$(loss $base $stories)
with=$(loss $base $test --adapter "$adapter") with_stories=$(loss $base $stories --adapter "$adapter")
after=$(loss "$fused" $test) after_stories=$(loss "$fused" $stories)

printf '\n%-16s %14s %14s\n' "loss per token" "$task" stories
row() { printf '%-16s %14.4f %14.4f\n' "$@"; }
row base "$before" "$before_stories"
row 'base + adapter' "$with" "$with_stories"
row 'fused model' "$after" "$after_stories"

awk -v before="$before" -v with="$with" -v after="$after" 'BEGIN {
  d = with - after; if (d < 0) d = -d
  if (!(with < before)) { print "the adapter did not learn the task"; exit 1 }
  if (d > 0.02) { printf "fused and unfused differ by %g\n", d; exit 1 }
  printf "\nThe adapter learnt the task, and the fused model keeps it (difference %.4f, from rounding to bf16).\n", d
}'
