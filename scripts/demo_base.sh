#!/usr/bin/env bash
# Makes the demo base and its tasks again, all from one seed: text, tokenizer, random weights, training.
set -euo pipefail
cd "$(dirname "$0")/.."
rm -rf build/demo
go run ./scripts/demo corpus
go run ./scripts/demo init
go run ./scripts/demo tasks
bin/shira train --config demo/base.yaml
mkdir -p demo/base
cp build/demo/base/{config.json,tokenizer.json,tokenizer_config.json,model.safetensors} demo/base/
