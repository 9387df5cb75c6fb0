#!/usr/bin/env bash
# Measures training steps and scoring on random models, and prints a table in Markdown.
#
#   scripts/bench_peers.sh [RUN]...     all runs without an argument; --list names them
#
# Where SHIRA_PEFT_PYTHON names a Python with torch, transformers and peft, they do the same on the same model right
# afterwards, as they are and compiled, and the faster of the two is compared. SHIRA_THREADS holds for both sides.
# Models stay in build/bench, up to 3 GB, for the next time.
set -euo pipefail
export LC_ALL=C HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false
cd "$(dirname "$0")/.."

all=(110m-bf16 110m-fp32 1.1b-bf16 260k-fp32 score-110m-fp32 score-110m-bf16 lora-110m-bf16 dora-110m-bf16 foura-110m-bf16)
shira=bin/shira dir=build/bench
python=${SHIRA_PEFT_PYTHON:-}
threads=${SHIRA_THREADS:-0}
if [[ $threads == 0 ]]; then threads=$(getconf _NPROCESSORS_ONLN); fi
# Variables beat the configurations written here; only the choice of kernels may stay.
for variable in "${!SHIRA_@}"; do
  [[ $variable == SHIRA_KERNEL ]] || unset "$variable"
done

declare -A names=([shira]=SHiRA [lora]=LoRA [dora]=DoRA)

# describe RUN: what the run is. disk is what its model, its rows and its adapter take, in MiB.
# peers are the methods of PEFT that a training run is compared with.
describe() {
  method=shira peers='shira lora'
  case $1 in
    110m-bf16) kind=train size=110m dtype=bfloat16 batch=4 length=256 r=32 steps=10 disk=260 ;;
    110m-fp32) kind=train size=110m dtype=float32 batch=4 length=256 r=32 steps=10 disk=470 ;;
    1.1b-bf16) kind=train size=1.1b dtype=bfloat16 batch=1 length=512 r=32 steps=8 disk=2350 ;;
    260k-fp32) kind=train size=260k dtype=float32 batch=8 length=256 r=2 steps=60 disk=5 ;; # steps of milliseconds
    score-110m-fp32) kind=score size=110m dtype=float32 batch=8 length=256 r=0 steps=5 disk=420 ;;
    score-110m-bf16) kind=score size=110m dtype=bfloat16 batch=8 length=256 r=0 steps=5 disk=210 ;;
    lora-110m-bf16) describe 110m-bf16 && method=lora peers=lora ;;
    dora-110m-bf16) describe 110m-bf16 && method=dora peers=dora ;;
    foura-110m-bf16) describe 110m-bf16 && method=foura peers='' ;;
    *) echo "bench_peers.sh: no run is called $1; there are: ${all[*]}" >&2; return 2 ;;
  esac
  model=$dir/models/$size-$dtype data=$dir/data/$size-$batch-$length-$steps.jsonl run=$dir/runs/$1
}

# field FILE PATTERN: the first number of a key that matches, or nothing.
field() {
  awk -v key="\"($2)\": *" '
    match($0, key "[-+.0-9eE]+") { v = substr($0, RSTART, RLENGTH); sub(key, "", v); print v; exit }' "$1"
}

# median FILE PATTERN: of a key's numbers in all lines but the first two, when memory is new and caches are cold.
median() {
  tail -n +3 "$1" | while read -r line; do field <(echo "$line") "$2"; done | sort -g |
    awk '{ v[NR] = $1 } END { if (NR) print (v[int((NR + 1) / 2)] + v[int(NR / 2) + 1]) / 2 }'
}

# The cells of the table. An empty number is an empty cell, and what is no number stands for itself.
speed() { awk -v v="$1" 'BEGIN { if (v + 0 > 0) printf v < 100 ? "%.1f" : "%.0f", v; else printf "%s", v }'; }
mebibytes() { awk -v v="$1" 'BEGIN { if (v + 0 > 0) printf "%.0f", v / 1048576 }'; }
percent() { awk -v v="$1" 'BEGIN { if (v + 0 > 0) printf "%.0f%%", 100 * v }'; }
ratio() { awk -v a="$1" -v b="$2" 'BEGIN { if (a + 0 > 0 && b + 0 > 0) printf "%.2f", a / b }'; }

# prepare: the model and the rows, unless they are there; or makes our_speed the reason for there being none.
# Here and in what calls it errexit is off, since the caller asks for the status: every failure is looked at.
prepare() {
  if [[ ! -e $model/model.safetensors ]]; then
    local free
    free=$(df -Pk "$dir" | awk 'NR == 2 { print int($4 / 1024) }')
    if ((free < disk)); then
      echo "$model needs $disk MiB, but the disk has $free free" >&2
      our_speed="needs $disk MiB of disk"
      return 1
    fi
    our_speed='no model'
    "$dir/randmodel" --size "$size" --dtype "$dtype" "$model" >&2 || return 1
  fi
  if [[ ! -e $data ]]; then
    our_speed='no data'
    "$dir/randmodel" --size "$size" --data "$data" --rows $((batch * steps)) --length "$length" >&2 || return 1
  fi
}

# ours: runs shira; fills our_speed, our_memory and our_use, or makes our_speed the reason for there being none.
ours() {
  our_speed='' our_memory='' our_use=''
  prepare || return 1
  our_speed=failed
  { rm -rf "$run" && mkdir -p "$run"; } || return 1
  local status=0
  if [[ $kind == train ]]; then
    # The mask is the default, which costs a step no more than any other.
    cat >"$run/config.yaml" <<YAML
model_name_or_path: $model
train_file: $data
output_dir: $run/out
method: $method
r: $r
target_modules: [q_proj, k_proj, v_proj, up_proj, down_proj]
max_seq_length: $length
per_device_train_batch_size: $batch
max_steps: $steps
compute_dtype: $dtype
threads: $threads
YAML
    "$shira" train --config "$run/config.yaml" --profile --json -q >"$run/result.json" 2>"$run/errors" || status=$?
  else
    "$shira" eval "$model" --data "$data" --max-seq-length "$length" --batch-size "$batch" --compute-dtype "$dtype" \
      --threads "$threads" --json -q >"$run/result.json" 2>"$run/errors" || status=$?
  fi
  if ((status)); then
    # Code 2 is a refusal of what was asked for.
    if ((status == 2)) && grep -q 'compute[-_]dtype' "$run/errors"; then
      our_speed='not supported'
      return 0
    fi
    cat "$run/errors" >&2
    our_speed="failed, exit code $status"
    return 1
  fi
  if [[ $kind == train ]]; then
    our_speed=$(median "$run/out/metrics.jsonl" tokens_per_second)
  else
    our_speed=$(field "$run/result.json" tokens_per_second)
  fi
  our_memory=$(field "$run/result.json" peak_rss_bytes)
  our_use=$(field "$run/result.json" utilisation)
  rm -f "$run"/out/*.safetensors
}

# peer NAME SCRIPT [flag]...: runs a peer as it is and compiled, and prints the row of the faster.
peer() {
  local name=$1 script=$2 how='' best='' memory='' found failed=0 mode log
  shift 2
  for mode in '' compiled; do
    log=$run/${name//[^A-Za-z]/}$mode
    echo "  $name${mode:+, $mode}" >&2
    if ! "$python" "scripts/$script" --model "$model" --data "$data" --dtype "$dtype" --batch "$batch" \
      --threads "$threads" ${mode:+--compile} "$@" >"$log.json" 2>"$log.errors"; then
      tail -n 3 "$log.errors" >&2
      failed=1
      continue
    fi
    found=$(field "$log.json" tokens_per_second)
    if awk -v a="$found" -v b="${best:-0}" 'BEGIN { exit !(a > b) }'; then
      best=$found memory=$(field "$log.json" peak_rss_bytes) how=${mode:+, $mode}
    fi
  done
  row '' "$name$how" "${best:-failed}" '' "$memory" "$(ratio "$our_speed" "$best")" "$(ratio "$our_memory" "$memory")"
  return $failed
}

# row RUN PROGRAM SPEED USE MEMORY [RATIO RATIO]: prints a line of the table.
row() {
  printf '| %s | %s | %s | %s | %s |' "$1" "$2" "$(speed "$3")" "$(percent "$4")" "$(mebibytes "$5")"
  if [[ -n $python ]]; then printf ' %s | %s |' "${6:-}" "${7:-}"; fi
  printf '\n'
}

if [[ ${1:-} == --list ]]; then
  printf '%s\n' "${all[@]}"
  exit
fi
if (($# == 0)); then set -- "${all[@]}"; fi
for name in "$@"; do describe "$name"; done

make -s build
mkdir -p "$dir"
go build -o "$dir/randmodel" ./scripts/randmodel

echo "$("$shira" version | head -n 1), $threads threads${SHIRA_KERNEL:+, $SHIRA_KERNEL kernels}"
if [[ -n $python ]]; then
  "$python" -c '
import importlib.metadata as packages
print(", ".join(f"{name} {packages.version(name)}" for name in ("torch", "transformers", "peft")))'
fi
printf '\n| run | program | tokens/s | flops utilisation | peak MiB |'
if [[ -n $python ]]; then printf ' speed of shira ÷ its | memory of shira ÷ its |'; fi
printf '\n| --- | --- | --: | --: | --: |'
if [[ -n $python ]]; then printf ' --: | --: |'; fi
printf '\n'

failures=0
for name in "$@"; do
  describe "$name"
  what="$name: $kind $size, ${batch}×$length, $dtype"
  if ((r)); then what+=", r=$r, $method"; fi
  echo "$what" >&2
  ours || failures=1
  row "$what" shira "$our_speed" "$our_use" "$our_memory"
  if [[ -n $python && -e $model/model.safetensors && -d $run ]]; then
    if [[ $kind == train ]]; then
      for other in $peers; do
        peer "PEFT ${names[$other]}" peer_train.py --method "$other" --r "$r" --steps "$steps" || failures=1
      done
    else
      peer transformers peer_score.py || failures=1
    fi
  fi
done
exit $failures
