"""What bench_switch.sh compares with: writing 1% of a weight of n×n by index_copy_, and adding B·A of rank 64, in PyTorch."""
import time

import torch


def least(do, n=15):
    best = float("inf")
    for _ in range(n):
        start = time.perf_counter()
        do()
        best = min(best, time.perf_counter() - start)
    return 1e6 * best


for dtype in (torch.float32, torch.bfloat16):
    for n in (1024, 2048, 4096):
        weight = torch.randn(n, n).to(dtype)
        flat, k = weight.view(-1), n * n // 100
        index = torch.randperm(n * n)[:k].sort().values
        values = torch.randn(k).to(dtype)
        a, b = torch.randn(64, n).to(dtype), torch.randn(n, 64).to(dtype)
        scatter = least(lambda: flat.index_copy_(0, index, values))
        fuse = least(lambda: weight.add_(b @ a))
        print(f"{n}×{n} {str(dtype)[6:]:9} index_copy_ {scatter:8.0f}  add B·A {fuse:8.0f}  ratio {fuse / scatter:.1f}")
