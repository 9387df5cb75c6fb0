"""Writes peft.json: what peft.utils.merge_utils makes of small random changes. Run with a Python that has peft and torch.

The random choices of DARE are those of prune.go, put in the place of torch.bernoulli, so that results can be compared.
"""

import hashlib
import json
import pathlib
import struct

import torch
from peft.utils import merge_utils

OUT, IN, NAME = 6, 9, "m.weight"
MASK = (1 << 64) - 1


def splitmix(at):
    z = (at + 1) * 0x9E3779B97F4A7C15 & MASK
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & MASK
    z = (z ^ z >> 27) * 0x94D049BB133111EB & MASK
    return z ^ z >> 31


def keep(seed, salt, density):
    digest = hashlib.sha256(struct.pack("<Q", seed) + NAME.encode() + b"\0" + salt.encode()).digest()
    key = struct.unpack("<Q", digest[:8])[0]
    return [float(splitmix(key + i & MASK) / 2.0**64 < density) for i in range(OUT * IN)]


torch.manual_seed(0)
changes = [torch.randn(OUT, IN) * (torch.rand(OUT, IN) < share) for share in (1.0, 0.8, 0.5)]
changes[0][0, 0], changes[1][0, 0], changes[2][0, 0] = 0.5, -0.5, 0.0  # a tie between the signs
weights = torch.tensor([1.0, 0.5, -0.25])
cases = []
for name, method in [
    ("linear", lambda d, s: merge_utils.task_arithmetic(changes, weights)),
    ("magnitude_prune", lambda d, s: merge_utils.magnitude_prune(changes, weights, d)),
    ("ties", lambda d, s: merge_utils.ties(changes, weights, d, s)),
    ("dare_linear", lambda d, s: merge_utils.dare_linear(changes, weights, d)),
    ("dare_ties", lambda d, s: merge_utils.dare_ties(changes, weights, d, s)),
]:
    for density in (1.0, 0.7, 0.3):
        for sign in ("total", "frequency"):
            if name == "linear" and density < 1 or "ties" not in name and sign != "total":
                continue
            masks = iter([torch.tensor(keep(7, str(i), density)).reshape(OUT, IN) for i in range(len(changes))])
            torch.bernoulli = lambda x: next(masks)
            want = method(density, sign)
            cases.append({"method": name, "density": density, "majority_sign_method": sign, "want": want.flatten().tolist()})
pathlib.Path(__file__).with_name("peft.json").write_text(
    json.dumps({
        "out": OUT, "in": IN, "name": NAME, "seed": 7, "weights": weights.tolist(),
        "changes": [c.flatten().tolist() for c in changes], "cases": cases,
    })
)
