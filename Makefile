.DEFAULT_GOAL := help
SHELL := bash
export CGO_ENABLED := 0

VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
LDFLAGS  := -s -w -X shira/internal/buildinfo.version=$(VERSION)
FUZZTIME ?= 10s
LINT     := go tool -modfile=tools/go.mod golangci-lint

.PHONY: help build demo demo-base test test-arm64 race lint bench bench-peers quality peft-check resume-check bench-switch crash fuzz cross clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' Makefile

build: ## bin/shira, one static binary
	go build -trimpath -ldflags '$(LDFLAGS)' -o bin/shira ./cmd/shira

demo: build ## train an adapter on the demo base, evaluate it, fuse it: about half a minute
	scripts/demo.sh

demo-base: build ## train the demo base again from its generator: about ten minutes
	scripts/demo_base.sh

test: ## vet and all tests
	go vet ./...
	go test ./...

race: ## the tests under the race detector; needs a C compiler
	CGO_ENABLED=1 go test -race -timeout 40m ./...

test-arm64: ## the kernels' tests for arm64 in an emulator; needs qemu-aarch64-static
	GOARCH=arm64 go test -c -o build/kernel.arm64 ./internal/kernel
	cd internal/kernel && qemu-aarch64-static ../../build/kernel.arm64 -test.run 'MatMul|Gemm|GradDense|Sddmm|Choose|Features'

lint: ## golangci-lint, built from the pinned version in tools/
	$(LINT) run ./...

bench: ## benchmarks of the kernels, the training step and scoring
	go test -run '^$$' -bench . ./internal/kernel ./internal/model ./internal/eval

.PHONY: bench-fuse
bench-fuse: ## time of fusing into a random 1.1B beside a plain copy of it
	scripts/bench_fuse.sh

bench-peers: ## speed and memory on random models of up to 1.1B, and those of PEFT
	scripts/bench_peers.sh $(RUNS)

peft-check: build ## adapters both ways with the real PEFT, in a virtual environment in build/
	scripts/peft_check.sh

resume-check: build ## training runs killed at random times, 50 of them, must end like one that was left alone
	scripts/resume_check.sh $(RUNS)

bench-switch: build ## switches of a 1.1B model on the disk and in memory, beside the disk itself, fusing and PyTorch
	scripts/bench_switch.sh

crash: ## kills, failing calls and lost power while it switches, trains and fuses: about seven minutes; needs strace, and unshare
	SHIRA_CRASH=1 go test -count=1 -v -timeout 30m -run Crash ./cmd/shira ./internal/switcher

quality: build ## held-out losses of every method on a text: MODEL=… TRAIN=… TEST=…; half an hour
	scripts/quality.sh $(MODEL) $(TRAIN) $(TEST)

fuzz: ## every fuzz target for FUZZTIME (10s)
	scripts/fuzz.sh $(FUZZTIME)

cross: ## build for the other platforms
	for p in linux/arm64 darwin/arm64 windows/amd64; do \
	  echo $$p; GOOS=$${p%/*} GOARCH=$${p#*/} go build -trimpath -o /dev/null ./cmd/shira || exit 1; done

clean: ## remove what the targets built
	rm -rf bin build
