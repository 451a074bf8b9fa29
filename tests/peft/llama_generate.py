#!/usr/bin/env python3
"""Prompt reading and greedy generation in llama.cpp, with the fields of `potluck bench generate --json`.

    VENV/bin/python llama_generate.py --gguf FILE.gguf --tokens FILE.json --prompt-tokens 512 --new-tokens 128 --threads 2

The prompt is the first tokens of the file (a JSON array of steps of sequences of ids). The prompt's time ends with the first
new token, the other tokens' begins there, and no token ends the text. Medians of three rounds.
"""
import argparse
import json
import statistics
import time

from llama_cpp import Llama

ROUNDS = 3


def arguments():
    p = argparse.ArgumentParser()
    p.add_argument("--gguf", required=True)
    p.add_argument("--tokens", required=True)
    p.add_argument("--prompt-tokens", type=int, default=512)
    p.add_argument("--new-tokens", type=int, default=128)
    p.add_argument("--threads", type=int, default=2)
    return p.parse_args()


def generate(llama, prompt, count):
    """The new tokens, and the seconds until the first and after it."""
    llama.reset()
    started = time.perf_counter()
    llama.eval(prompt)
    tokens = [llama.sample(temp=0.0)]
    first = time.perf_counter()
    while len(tokens) < count:
        llama.eval(tokens[-1:])
        tokens.append(llama.sample(temp=0.0))
    return tokens, first - started, time.perf_counter() - first


def main():
    a = arguments()
    with open(a.tokens) as file:
        ids = [i for step in json.load(file) for sequence in step for i in sequence][: a.prompt_tokens]
    if len(ids) < a.prompt_tokens:
        raise SystemExit(f"{a.tokens}: {len(ids)} tokens, the prompt takes {a.prompt_tokens}")
    llama = Llama(
        a.gguf, n_ctx=len(ids) + a.new_tokens, n_batch=512, n_threads=a.threads, n_threads_batch=a.threads, verbose=False
    )
    rounds = [generate(llama, ids, a.new_tokens) for _ in range(ROUNDS)]
    print(json.dumps({
        "prompt_tokens": len(ids), "new_tokens": a.new_tokens,
        "prompt_tokens_per_second": len(ids) / statistics.median(prompt for _, prompt, _ in rounds),
        "new_tokens_per_second": (a.new_tokens - 1) / statistics.median(new for _, _, new in rounds),
        "tokens": rounds[-1][0], "backend": "llama.cpp", "threads": a.threads,
    }))


if __name__ == "__main__":
    main()
