#!/usr/bin/env python3
"""The step that a user would run instead: torch + PEFT, LoRA r16 on all seven linears, AdamW, on the CPU.

    VENV/bin/python peft_step.py --base FOLDER --dtype bf16 --batch 4 --seq 512 [--checkpoint] [--threads 2] [--steps 6]
    VENV/bin/python peft_step.py --base FOLDER --dtype f32 --tokens FILE.json [--seed 1]

Prints one JSON line with the fields of `potluck bench step --json`: the median of tokens per second after the first step
(real tokens: padding does not count), peak resident memory in 10^6 bytes, and the losses.

Ids and initial A come from an integer hash, so another trainer can start from the same point with no file passed:
    splitmix64(x): z = x + 0x9E3779B97F4A7C15; z = (z ^ z>>30) * 0xBF58476D1CE4E5B9; z = (z ^ z>>27) * 0x94D049BB133111EB; z ^ z>>31   (mod 2^64)
    id at flat position i          = splitmix64(2^60 + i) mod vocabulary
    A of tensor t, flat element i  = (splitmix64(seed * 2^48 + t * 2^32 + i) >> 40) / 2^24, minus 0.5, times 2 / sqrt(in features);   B = 0
with t the index of the lora_A tensor among all lora_A names sorted as strings. `--tokens` is a JSON array of steps, a step an
array of sequences, a sequence an array of ids; sequences of unequal lengths are padded on the right, with an attention mask
and labels of -100. Every token but a sequence's first is labelled, dropout is 0, AdamW (lr 2e-4, betas 0.9 and 0.999,
eps 1e-8, no decay) is inside the timed step, alpha = 2 r. Same start, same losses.
"""
import argparse
import json
import resource
import statistics
import time

import numpy as np
import peft
import torch
import transformers
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16}


def splitmix64(x):
    with np.errstate(over="ignore"):
        z = x.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


def hashed_sequences(batch, seq, vocabulary):
    positions = np.arange(batch * seq, dtype=np.uint64) + np.uint64(2**60)
    return (splitmix64(positions) % np.uint64(vocabulary)).astype(np.int64).reshape(batch, seq).tolist()


def set_initial_a(model, seed):
    factors = sorted((name, w) for name, w in model.named_parameters() if "lora_A" in name)
    with torch.no_grad():
        for t, (_, w) in enumerate(factors):
            first = np.uint64(((seed << 48) + (t << 32)) % 2**64)
            with np.errstate(over="ignore"):
                flat = np.arange(w.numel(), dtype=np.uint64) + first
            unit = (splitmix64(flat) >> np.uint64(40)).astype(np.float64) / 2**24
            w.copy_(torch.tensor((unit - 0.5) * 2 / w.shape[1] ** 0.5).view(w.shape).to(w.dtype))


def tensors(sequences):
    """The model's arguments: no mask where there is no padding."""
    width = max(map(len, sequences))
    ids = torch.tensor([ids + [0] * (width - len(ids)) for ids in sequences])
    if all(len(ids) == width for ids in sequences):
        return {"input_ids": ids, "labels": ids}
    mask = torch.tensor([[1] * len(ids) + [0] * (width - len(ids)) for ids in sequences])
    return {"input_ids": ids, "attention_mask": mask, "labels": ids.masked_fill(mask == 0, -100)}


def peak_rss_mb():
    """The peak of this program alone: what the system counts for a process may begin before it."""
    try:
        with open("/proc/self/status") as status:
            kib = next(int(line.split()[1]) for line in status if line.startswith("VmHWM:"))
    except OSError:
        kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return kib * 1024 / 1e6


def load(a):
    model = AutoModelForCausalLM.from_pretrained(a.base, dtype=DTYPES[a.dtype])
    config = LoraConfig(r=a.rank, lora_alpha=2 * a.rank, target_modules=TARGETS, task_type="CAUSAL_LM")
    model = get_peft_model(model, config)
    set_initial_a(model, a.seed)
    if a.checkpoint:
        model.gradient_checkpointing_enable()
        model.enable_input_require_grads()
    model.train()
    return model


def train(model, batches, steps):
    """Losses, and the seconds and real tokens of each step."""
    optimizer = torch.optim.AdamW([w for w in model.parameters() if w.requires_grad], lr=2e-4, weight_decay=0.0)
    losses, seconds, tokens = [], [], []
    for step in range(steps):
        sequences = batches[step % len(batches)]
        start = time.perf_counter()
        loss = model(**tensors(sequences)).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        seconds.append(time.perf_counter() - start)
        losses.append(float(loss.detach()))
        tokens.append(sum(map(len, sequences)))
    return losses, seconds, tokens


def arguments():
    p = argparse.ArgumentParser()
    p.add_argument("--base", required=True)
    p.add_argument("--dtype", choices=sorted(DTYPES), default="bf16")
    p.add_argument("--batch", type=int, default=4)
    p.add_argument("--seq", type=int, default=512)
    p.add_argument("--tokens", help="JSON file of steps, instead of --batch and --seq")
    p.add_argument("--rank", type=int, default=16)
    p.add_argument("--steps", type=int, help="default: 6, or those of --tokens")
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--checkpoint", action="store_true")
    return p.parse_args()


def main():
    a = arguments()
    torch.set_num_threads(a.threads)
    model = load(a)
    if a.tokens:
        with open(a.tokens) as file:
            batches = json.load(file)
    else:
        batches = [hashed_sequences(a.batch, a.seq, model.config.vocab_size)]
    steps = a.steps or (len(batches) if a.tokens else 6)
    losses, seconds, tokens = train(model, batches, steps)
    warm = slice(1, None) if steps > 1 else slice(None)
    print(json.dumps({
        "tokens_per_second": statistics.median(n / s for n, s in zip(tokens[warm], seconds[warm])),
        "step_seconds": statistics.median(seconds[warm]), "peak_rss_mb": peak_rss_mb(), "losses": losses,
        "seed": a.seed, "backend": "peft", "dtype": a.dtype, "checkpoint": a.checkpoint, "threads": a.threads,
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__, "peft": peft.__version__},
    }))


if __name__ == "__main__":
    main()
