#!/usr/bin/env bash
# Checks with the real PEFT that it loads what shira writes, and shira what it writes, with the same logits.
#
# The Python is that of SHIRA_PEFT_PYTHON or, without it, of an own virtual environment in build/peft, which is made first: torch,
# transformers and peft are some gigabytes.
set -euo pipefail
export LC_ALL=C TOKENIZERS_PARALLELISM=false
cd "$(dirname "$0")/.."

dir=build/peft python=${SHIRA_PEFT_PYTHON:-}
if [[ -z $python ]]; then
  python=$dir/venv/bin/python
  if ! "$python" -c 'import peft, torch, transformers' 2>/dev/null; then
    python3 -m venv "$dir/venv"
    "$python" -m pip install --quiet --upgrade pip
    "$python" -m pip install --quiet torch transformers peft
  fi
fi
for variable in "${!SHIRA_@}"; do # they would beat the configurations written here
  [[ $variable == SHIRA_KERNEL ]] || unset "$variable"
done
rm -rf "$dir/work"
mkdir -p "$dir/work"
HF_HUB_OFFLINE=1 "$python" scripts/peft_check.py --shira bin/shira --base demo/base --work "$dir/work"
