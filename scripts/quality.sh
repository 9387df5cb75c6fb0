#!/usr/bin/env bash
# Trains a model on a text with every method, at three learning rates each, and prints the held-out losses as a table in
# Markdown, each method's best in bold. All methods have the budget of rank or budget R, so that they train about as many values.
#
#   scripts/quality.sh MODEL TRAIN.jsonl TEST.jsonl [METHOD]...     all methods without one; --list names them
#
# R=4, STEPS=200, BATCH=8 and LENGTH=256 can be set in the environment. Rows are in the order of the file, one example each; the
# rate falls to 0 in a line. What is trained is removed again.
set -euo pipefail
export LC_ALL=C
root=$(dirname "$0")/..

# name | settings | learning rates
all='shira, mask rand     | method=shira mask=rand                          | 3e-3 1e-2 3e-2
shira, mask wm       | method=shira mask=wm                            | 3e-3 1e-2 3e-2
shira, mask grad     | method=shira mask=grad                          | 3e-3 1e-2 3e-2
shira, mask snip     | method=shira mask=snip                          | 3e-3 1e-2 3e-2
shira, mask struct   | method=shira mask=struct                        | 3e-3 1e-2 3e-2
lora                 | method=lora                                     | 3e-3 1e-2 3e-2
rslora               | method=rslora                                   | 1e-3 3e-3 1e-2
dora                 | method=dora                                     | 3e-3 1e-2 3e-2
shira-dora           | method=shira-dora mask=wm                       | 3e-3 1e-2 3e-2
shira-dora, sparse   | method=shira-dora mask=wm direction=sparse      | 3e-3 1e-2 3e-2
foura                | method=foura                                    | 3e-3 1e-2 3e-2
foura, dft           | method=foura transform=dft                      | 3e-3 1e-2 3e-2
foura, hard gate     | method=foura gate=hard                          | 3e-3 1e-2 3e-2
foura, frozen gate   | method=foura gate=frozen                        | 3e-3 1e-2 3e-2
foura, no gate       | method=foura gate=none                          | 3e-3 1e-2 3e-2
lora with a gate     | method=foura transform=none                     | 3e-3 1e-2 3e-2
full                 | method=full                                     | 3e-4 1e-3 3e-3'

trim() { local s=$1; s=${s#"${s%%[! ]*}"}; echo "${s%"${s##*[! ]}"}"; }

if [[ ${1:-} == --list ]]; then
  while IFS='|' read -r name _; do trim "$name"; done <<<"$all"
  exit
fi
if (($# < 3)); then
  echo "usage: scripts/quality.sh MODEL TRAIN.jsonl TEST.jsonl [METHOD]..." >&2
  exit 2
fi
model=$(realpath "$1") train=$(realpath "$2") valid=$(realpath "$3")
shift 3
cd "$root"
shira=bin/shira
[[ -x $shira ]] || make -s build
for variable in "${!SHIRA_@}"; do
  [[ $variable == SHIRA_KERNEL ]] || unset "$variable"
done
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat >"$work/run.yaml" <<YAML
model_name_or_path: $model
train_file: $train
validation_file: $valid
max_seq_length: ${LENGTH:-256}
per_device_train_batch_size: ${BATCH:-8}
max_steps: ${STEPS:-200}
packing: false
shuffle: false
max_grad_norm: 0
save_strategy: "no"
YAML

# number KEY: of the JSON object on the standard input.
number() { awk -v key="\"$1\": " 'index($0, key) { sub(".*" key, ""); sub(",.*", ""); print; exit }'; }

echo "| method | trained | held-out loss at each learning rate | tokens/s |"
echo "| --- | --- | --- | --- |"
while IFS='|' read -r name settings rates; do
  name=$(trim "$name")
  if (($#)); then
    wanted=no
    for m in "$@"; do [[ $m == "$name" ]] && wanted=yes; done
    [[ $wanted == yes ]] || continue
  fi
  sets=()
  for s in $settings; do sets+=(--set "$s"); done
  [[ $settings == *method=full* ]] || sets+=(--set "r=${R:-4}")
  cells='' trained='' speed=''
  for rate in $rates; do
    if "$shira" -q train --config "$work/run.yaml" "${sets[@]}" --set "learning_rate=$rate" --set "output_dir=$work/out" --json \
      >"$work/result.json" 2>"$work/errors"; then
      loss=$(number eval_loss <"$work/result.json")
      trained=$(number trainable_parameters <"$work/result.json") speed=$(number tokens_per_second <"$work/result.json")
    else
      head -1 "$work/errors" >&2
      loss=failed
    fi
    cells+="$rate $loss;"
    rm -rf "$work/out"
  done
  awk -v name="$name" -v cells="$cells" -v trained="$trained" -v speed="$speed" 'BEGIN {
    n = split(cells, c, ";") - 1
    for (i = 1; i <= n; i++) {
      split(c[i], f, " "); rate[i] = f[1]; loss[i] = f[2]
      if (loss[i] + 0 > 0 && (!best || loss[i] + 0 < loss[best] + 0)) best = i
    }
    for (i = 1; i <= n; i++) {
      v = loss[i] + 0 > 0 ? sprintf("%.3f", loss[i]) : loss[i]
      text = text (i > 1 ? ", " : "") rate[i] ": " (i == best ? "**" v "**" : v)
    }
    printf "| %s | %s | %s | %.0f |\n", name, trained, text, speed
  }'
done <<<"$all"
