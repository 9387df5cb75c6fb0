"""Times training steps of PEFT on PyTorch, for scripts/bench_peers.sh. Prints one line of JSON.

The rows of the data file are all of one length and are taken in their order, each once if there are enough.
"""
import argparse
import itertools
import json
import resource
import statistics
import sys
import time

import torch
import transformers
from peft import LoraConfig, ShiraConfig, get_peft_model

TARGETS = ["q_proj", "k_proj", "v_proj", "up_proj", "down_proj"]


def flags():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--model", required=True, help="Hugging Face directory")
    p.add_argument("--data", required=True, help="JSONL with input_ids")
    p.add_argument("--method", choices=["shira", "lora", "dora"], required=True)
    p.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    p.add_argument("--batch", type=int, default=4, help="rows in a step")
    p.add_argument("--r", type=int, default=32)
    p.add_argument("--steps", type=int, default=10)
    p.add_argument("--skip", type=int, default=2, help="steps that are not counted: memory is new, kernels are compiled")
    p.add_argument("--threads", type=int, default=0, help="0: PyTorch's own choice")
    p.add_argument("--compile", action="store_true")
    return p.parse_args()


def batches(path, size):
    with open(path, encoding="utf-8") as f:
        rows = itertools.cycle([json.loads(line)["input_ids"] for line in f])
    while True:
        yield torch.tensor(list(itertools.islice(rows, size)))


def peak_rss():
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def main():
    a = flags()
    if a.threads:
        torch.set_num_threads(a.threads)
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_pretrained(a.model, dtype=getattr(torch, a.dtype))
    if a.method == "shira":
        adapter = ShiraConfig(r=a.r, target_modules=TARGETS, task_type="CAUSAL_LM")
    else:
        adapter = LoraConfig(r=a.r, lora_alpha=2 * a.r, use_dora=a.method == "dora", target_modules=TARGETS,
                             task_type="CAUSAL_LM")
    model = get_peft_model(model, adapter)
    model.train()
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=5e-4, weight_decay=0.0)
    step = torch.compile(model) if a.compile else model

    seconds = []
    for ids in itertools.islice(batches(a.data, a.batch), a.steps):
        start = time.perf_counter()
        # A cache of keys and values serves generation only, and makes the compiler give up layer by layer.
        loss = step(input_ids=ids, labels=ids, use_cache=False).loss
        loss.backward()
        # shira clips by default as well.
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        seconds.append(time.perf_counter() - start)
    print(json.dumps({
        "tokens_per_second": ids.numel() / statistics.median(seconds[a.skip:]), "peak_rss_bytes": peak_rss(),
        "trainable_parameters": sum(p.numel() for p in trained), "loss": loss.item()}))


main()
