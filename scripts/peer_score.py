"""Times scoring with transformers on PyTorch, for scripts/bench_peers.sh. Prints one line of JSON.

The rows of the data file are all of one length and are taken in batches, in their order.
"""
import argparse
import json
import resource
import statistics
import sys
import time

import torch
import transformers


def flags():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--model", required=True, help="Hugging Face directory")
    p.add_argument("--data", required=True, help="JSONL with input_ids")
    p.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    p.add_argument("--batch", type=int, default=8, help="rows in a batch")
    p.add_argument("--threads", type=int, default=0, help="0: PyTorch's own choice")
    p.add_argument("--compile", action="store_true")
    return p.parse_args()


def peak_rss():
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def main():
    a = flags()
    if a.threads:
        torch.set_num_threads(a.threads)
    model = transformers.AutoModelForCausalLM.from_pretrained(a.model, dtype=getattr(torch, a.dtype)).eval()
    forward = torch.compile(model) if a.compile else model
    with open(a.data, encoding="utf-8") as f:
        batches = torch.tensor([json.loads(line)["input_ids"] for line in f]).split(a.batch)

    def loss(ids):
        # A cache of keys and values serves generation only, and makes the compiler give up layer by layer.
        return forward(input_ids=ids, labels=ids, use_cache=False).loss.item()

    seconds, losses = [], []
    with torch.inference_mode():
        loss(batches[0])  # memory is new, kernels are compiled
        for ids in batches:
            start = time.perf_counter()
            losses.append(loss(ids))
            seconds.append(time.perf_counter() - start)
    print(json.dumps({
        "tokens_per_second": batches[0].numel() / statistics.median(seconds), "peak_rss_bytes": peak_rss(),
        "loss": statistics.mean(losses)}))


main()
