"""Checks adapters both ways between shira and PEFT, for scripts/peft_check.sh.

For each case PEFT makes an adapter with random values and saves it. shira must score the base with it as PEFT does, and
fuse it to a model with PEFT's logits; what `shira convert` writes of it PEFT must load, key by key, to the same logits.
Then shira trains an adapter by each method that both have, and PEFT must load that one too.
"""
import argparse
import json
import pathlib
import subprocess
import sys
import warnings

import peft
import safetensors.torch
import torch
import transformers

# Float32 sums in another order. Losses are means of some hundred tokens, in nats.
LOGITS, LOSS = 1e-5, 1e-5
TARGETS = ["q_proj", "k_proj", "v_proj", "up_proj", "down_proj"]


def lora(**keys):
    return peft.LoraConfig(**{"r": 4, "lora_alpha": 8, "target_modules": TARGETS, "task_type": "CAUSAL_LM", **keys})


CASES = {
    "lora": lora(),
    "lora, patterns": lora(
        target_modules=r".*\.(q_proj|up_proj|down_proj)",
        rank_pattern={r"layers\.1\..*": 2, "up_proj": 6, "q_proj": 3},
        alpha_pattern={"model.layers.0.self_attn.q_proj": 1, "(up|down)_proj": 3.5},
    ),
    "lora, some layers": lora(layers_to_transform=[1, 3], layers_pattern="layers"),
    "lora, all linear": lora(target_modules="all-linear", lora_dropout=0.1),
    "lora, modules to save": lora(modules_to_save=["gate_proj"]),
    "rslora": lora(use_rslora=True),
    "dora": lora(use_dora=True),
    "dora with rslora": lora(use_dora=True, use_rslora=True, alpha_pattern={"q_proj": 2}),
    "shira": peft.ShiraConfig(r=2, target_modules=TARGETS, task_type="CAUSAL_LM", random_seed=3),
}
METHODS = ["shira", "lora", "rslora", "dora"]


class Check:
    def __init__(self, flags):
        self.shira, self.work = flags.shira, pathlib.Path(flags.work)
        self.failed = 0
        self.base = self.work / "base"
        model = transformers.AutoModelForCausalLM.from_pretrained(flags.base, dtype=torch.float32)
        model.save_pretrained(self.base)
        for name in ["tokenizer.json", "tokenizer_config.json"]:
            (self.base / name).write_bytes((pathlib.Path(flags.base) / name).read_bytes())
        generator = torch.Generator().manual_seed(1)
        self.ids = torch.randint(2, model.config.vocab_size, (4, 48), generator=generator)
        self.data = self.work / "rows.jsonl"
        self.data.write_text("".join(json.dumps({"input_ids": row}) + "\n" for row in self.ids.tolist()))

    def run(self, *args):
        done = subprocess.run([self.shira, *map(str, args)], capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"shira {' '.join(map(str, args))}: exit code {done.returncode}: {done.stderr.strip()}")
        return done.stdout

    @torch.no_grad()
    def logits(self, model):
        return model.eval()(input_ids=self.ids).logits.float()

    def model(self, path=None):
        return transformers.AutoModelForCausalLM.from_pretrained(path or self.base, dtype=torch.float32)

    def make(self, config, out):
        """An adapter of PEFT in which nothing is zero. Returns its logits."""
        torch.manual_seed(7)
        model = peft.get_peft_model(self.model(), config)
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.requires_grad:
                    parameter.add_(0.02 * torch.randn_like(parameter))
        model.save_pretrained(out)
        return self.logits(model)

    def load(self, path):
        """The logits with an adapter as PEFT loads it, which must take every tensor of the file and need no other."""
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message="(?i).*(missing|unexpected).*")
            model = peft.PeftModel.from_pretrained(self.model(), path)
        taken = set(peft.get_peft_model_state_dict(model))
        there = set(safetensors.torch.load_file(path / "adapter_model.safetensors"))
        if taken != there:
            raise RuntimeError(f"{path}: keys that only one side has: {sorted(taken ^ there)[:5]}")
        return self.logits(model)

    def agree(self, adapter, want):
        """The differences of what shira computes with an adapter from PEFT's logits: of its loss, and of the fused model."""
        shifted = torch.nn.functional.cross_entropy(want[:, :-1].flatten(0, 1), self.ids[:, 1:].flatten())
        scored = json.loads(self.run("eval", self.base, "--data", self.data, "--adapter", adapter, "--json"))
        loss = abs(scored["results"]["perplexity"]["loss"] - shifted.item())
        fused = self.work / "fused"
        self.run("fuse", self.base, adapter, "-o", fused, "--force")
        return loss, relative(self.logits(self.model(fused)), want)

    def row(self, name, loss, fused, loaded):
        ok = loss <= LOSS and fused <= LOGITS and loaded <= LOGITS
        self.failed += not ok
        print(f"{name:32} {loss:12.1e} {fused:12.1e} {loaded:12.1e}  {'ok' if ok else 'FAILED'}", flush=True)

    def attempt(self, name, f):
        try:
            self.row(name, *f())
        except Exception as e:  # the other cases shall still be seen
            self.failed += 1
            print(f"{name:32} FAILED: {e}", flush=True)

    def theirs(self, config, path):
        want = self.make(config, path)
        loss, fused = self.agree(path, want)
        again = path.with_name(path.name + "-again")
        self.run("convert", path, again)
        return loss, fused, relative(self.load(again), want)

    def ours(self, method, path):
        rows = self.work / "train.jsonl"
        rows.write_text(self.data.read_text() * 4)
        config = self.work / "run.yaml"
        config.write_text(json.dumps({
            "model_name_or_path": str(self.base), "train_file": str(rows), "output_dir": str(path), "method": method,
            "r": 4, "target_modules": TARGETS, "max_steps": 5, "max_seq_length": 48, "learning_rate": 0.01,
            "per_device_train_batch_size": 4, **({"mask": "wm"} if method == "shira" else {"lora_alpha": 8}),
        }))
        self.run("train", "-q", "--config", config)
        want = self.load(path)
        return *self.agree(path, want), 0.0


def relative(got, want):
    return ((got - want).norm() / want.norm()).item()


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--shira", required=True, help="the program")
    p.add_argument("--base", required=True, help="Hugging Face directory of a small Llama")
    p.add_argument("--work", required=True, help="an empty directory")
    warnings.simplefilter("ignore")
    transformers.utils.logging.disable_progress_bar()
    check = Check(p.parse_args())
    print(f"PEFT {peft.__version__}, transformers {transformers.__version__}, torch {torch.__version__}")
    print(f"{'adapter':32} {'loss':>12} {'fused':>12} {'reloaded':>12}")
    for i, (name, config) in enumerate(CASES.items()):
        check.attempt(f"PEFT: {name}", lambda: check.theirs(config, check.work / f"peft-{i}"))
    for method in METHODS:
        check.attempt(f"shira: {method}", lambda: check.ours(method, check.work / f"shira-{method}"))
    sys.exit(f"{check.failed} failed" if check.failed else 0)


if __name__ == "__main__":
    main()
