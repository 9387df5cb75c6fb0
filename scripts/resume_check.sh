#!/usr/bin/env bash
# Kills training runs at random times with SIGKILL, goes on from what is left until they are done, and compares the results with
# those of a run that was left alone: the adapter or model, its configuration and the metrics, but for speeds, must be the same.
# Usage: scripts/resume_check.sh [RUNS]; SHIRA is another program than bin/shira, SEED gives other times.
set -euo pipefail
cd "$(dirname "$0")/.."
runs=${1:-50}
shira=$(realpath "${SHIRA:-bin/shira}")
root=$PWD
RANDOM=${SEED:-1}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
ln -s "$root/demo/base" base
head -n 40 "$root/demo/tasks/ending/train.jsonl" >train.jsonl
head -n 4 "$root/demo/tasks/ending/test.jsonl" >test.jsonl

cat >run.yaml <<'YAML'
model_name_or_path: base
train_file: train.jsonl
validation_file: test.jsonl
output_dir: out
max_seq_length: 64
per_device_train_batch_size: 2
gradient_accumulation_steps: 2
max_steps: 24
learning_rate: 1e-2
lr_scheduler_type: cosine
warmup_steps: 3
weight_decay: 0.01
neftune_noise_alpha: 5
eval_steps: 5
save_steps: 2
save_total_limit: 2
YAML

# The kinds of runs, in turn.
kinds=(
  "--set method=shira --set r=2"
  "--set method=full --set compute_dtype=bfloat16 --set learning_rate=1e-4"
  "--set method=lora --set r=2 --set lora_dropout=0.1 --set learning_rate=1e-3"
  "--set method=foura --set r=2 --set gate=frozen --set learning_rate=1e-3"
  "--set method=shira --set mask=rand --set density=0.01 --set load_best_model_at_end=true --set compute_dtype=bfloat16"
)

# result DIR: what must not differ
result() {
  (cd "$1" && sha256sum adapter_model.safetensors adapter_config.json model.safetensors 2>/dev/null || true
    sed 's/"tokens_per_second":[^}]*//' metrics.jsonl)
}

for k in "${!kinds[@]}"; do
  start=$(date +%s%N)
  # shellcheck disable=SC2086
  "$shira" train --config run.yaml ${kinds[k]} --set "output_dir=whole-$k" -q >/dev/null
  took[k]=$((($(date +%s%N) - start) / 1000000))
  result "whole-$k" >"whole-$k.txt"
done

kills=0 differ=0
for ((run = 0; run < runs; run++)); do
  k=$((run % ${#kinds[@]}))
  rm -rf out
  for ((attempt = 0; ; attempt++)); do
    # shellcheck disable=SC2086
    "$shira" train --config run.yaml ${kinds[k]} --resume auto -q >/dev/null 2>log &
    if ((attempt < 6)); then
      ms=$((RANDOM % (took[k] / 2)))
      sleep "$((ms / 1000)).$(printf %03d $((ms % 1000)))"
      kill -9 $! 2>/dev/null || true
    fi
    if wait $! 2>/dev/null; then break; else code=$?; fi
    ((code == 137)) || { cat log >&2; exit 1; }
    kills=$((kills + 1))
    # Killed when the result was there, it is done.
    if [[ -e out/metrics.jsonl ]]; then break; fi
  done
  if ! result out | cmp -s - "whole-$k.txt"; then
    differ=$((differ + 1))
    echo "run $run (${kinds[k]}) differs:" >&2
    result out | diff - "whole-$k.txt" | head -5 >&2
  fi
  if compgen -G 'out/*.tmp-*' >/dev/null; then
    echo "run $run leaves $(echo out/*.tmp-*)" >&2
    differ=$((differ + 1))
  fi
done
echo "$runs runs, killed $kills times: $((runs - differ)) are the same as runs that were left alone"
((differ == 0))
