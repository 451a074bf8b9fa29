#!/usr/bin/env python3
"""Merging LoRA adapters in PEFT (`add_weighted_adapter`), one method a process.

    VENV/bin/python peft_merge.py make DIR [--adapters 8 --rank 16 --layers 30]
    VENV/bin/python peft_merge.py merge DIR --method svd --rank-out 16 [--density 0.5 --threads 2]

`make` writes adapters of SmolLM2's shape (210 matrices with 30 layers) as PEFT saves them, and the shape as config.json.
`merge` loads them, merges with equal weights, and prints one JSON line: seconds of `add_weighted_adapter` alone (neither
loading nor saving), peak memory of the process until then, and the error against the exact sum in f64 (Frobenius, over all
matrices, relative). The base is a skeleton with a vocabulary of 512, so that its memory hardly counts.
"""
import argparse
import json
import os
import resource
import time

os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM

LINEARS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def skeleton(layers):
    return LlamaConfig(
        vocab_size=512, hidden_size=576, intermediate_size=1536, num_hidden_layers=layers, num_attention_heads=9,
        num_key_value_heads=3, tie_word_embeddings=True, architectures=["LlamaForCausalLM"],
    )


def make(asked):
    torch.manual_seed(0)
    config = skeleton(asked.layers)
    config.save_pretrained(asked.folder)
    # alpha equals the rank: with another scale PEFT's svd multiplies by it twice, which is not what is compared here.
    lora = LoraConfig(r=asked.rank, lora_alpha=asked.rank, target_modules=LINEARS, task_type="CAUSAL_LM")
    model = get_peft_model(LlamaForCausalLM(config), lora, adapter_name="a0")
    generator = torch.Generator().manual_seed(7)
    for number in range(asked.adapters):
        if number:
            model.add_adapter(f"a{number}", lora)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if f".a{number}." in name:
                    parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.02)
        model.save_pretrained(asked.folder, selected_adapters=[f"a{number}"])


def load(folder):
    model = LlamaForCausalLM(LlamaConfig.from_pretrained(folder))
    names = sorted(name for name in os.listdir(folder) if os.path.isdir(os.path.join(folder, name)))
    model = PeftModel.from_pretrained(model, os.path.join(folder, names[0]), adapter_name=names[0])
    for name in names[1:]:
        model.load_adapter(os.path.join(folder, name), adapter_name=name)
    return model, names


def update(module, name):
    b, a = module.lora_B[name].weight.to(torch.float64), module.lora_A[name].weight.to(torch.float64)
    return (b @ a) * module.scaling[name]


def error(model, names, weights, merged):
    difference = total = 0.0
    with torch.no_grad():
        for _, module in model.named_modules():
            if hasattr(module, "lora_A") and merged in module.lora_A:
                exact = sum(weight * update(module, name) for weight, name in zip(weights, names))
                difference += float((update(module, merged) - exact).norm() ** 2)
                total += float(exact.norm() ** 2)
    return (difference / total) ** 0.5


def merge(asked):
    torch.set_num_threads(asked.threads)
    model, names = load(asked.folder)
    weights = [1.0 / len(names)] * len(names)
    extra = {}
    if any(word in asked.method for word in ("ties", "dare", "prune")):
        extra["density"] = asked.density
    if asked.method.endswith("svd"):
        extra["svd_rank"] = asked.rank_out
    torch.manual_seed(0)
    began = time.perf_counter()
    model.add_weighted_adapter(names, weights, "merged", combination_type=asked.method, **extra)
    seconds = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    print(json.dumps({"method": asked.method, "rank_out": asked.rank_out, "seconds": seconds, "peak_rss_mb": peak,
                      "error": error(model, names, weights, "merged")}))


def main():
    parse = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parse.add_argument("do", choices=["make", "merge"])
    parse.add_argument("folder")
    parse.add_argument("--adapters", type=int, default=8)
    parse.add_argument("--rank", type=int, default=16)
    parse.add_argument("--layers", type=int, default=30)
    parse.add_argument("--method", default="svd")
    parse.add_argument("--rank-out", type=int, default=16)
    parse.add_argument("--density", type=float, default=0.5)
    parse.add_argument("--threads", type=int, default=2)
    asked = parse.parse_args()
    make(asked) if asked.do == "make" else merge(asked)


if __name__ == "__main__":
    main()
