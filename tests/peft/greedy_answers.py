#!/usr/bin/env python3
"""Answers of a base with a PEFT adapter to chat prompts, greedily and in f32, as `potluck generate --chat` gives them.

    python greedy_answers.py --base FOLDER --adapter FOLDER --prompts FILE.jsonl [--potluck PROGRAM] [--new-tokens 64]

A prompt is a line {"prompt": "..."}. Prints one JSON line for each prompt, and with --potluck how many answers are the
same text; the exit status is 1 if fewer than nine in ten are.
"""
import argparse, json, subprocess, sys
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

p = argparse.ArgumentParser()
p.add_argument("--base", required=True)
p.add_argument("--adapter", required=True)
p.add_argument("--prompts", required=True)
p.add_argument("--potluck", help="the program to compare with")
p.add_argument("--new-tokens", type=int, default=64)
p.add_argument("--threads", type=int, default=2)
a = p.parse_args()

torch.set_num_threads(a.threads)
tokenizer = AutoTokenizer.from_pretrained(a.base)
model = AutoModelForCausalLM.from_pretrained(a.base, dtype=torch.float32)
model = PeftModel.from_pretrained(model, a.adapter).eval()
same = count = 0
for line in open(a.prompts, encoding="utf-8"):
    prompt = json.loads(line)["prompt"]
    text = tokenizer.apply_chat_template([{"role": "user", "content": prompt}], tokenize=False, add_generation_prompt=True)
    ids = tokenizer(text, return_tensors="pt", add_special_tokens=False)
    with torch.no_grad():
        out = model.generate(**ids, max_new_tokens=a.new_tokens, do_sample=False, pad_token_id=tokenizer.eos_token_id)
    theirs = tokenizer.decode(out[0, ids["input_ids"].shape[1]:], skip_special_tokens=True)
    answer = {"prompt": prompt, "peft": theirs}
    if a.potluck:
        command = [a.potluck, "generate", "--base", a.base, "--adapter", a.adapter, "--chat", "--json", "--quiet",
                   "--max-new-tokens", str(a.new_tokens), prompt]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        answer["potluck"] = json.loads(done.stdout.strip().splitlines()[-1])["text"]
        same += answer["potluck"].strip() == theirs.strip()
    count += 1
    print(json.dumps(answer, ensure_ascii=False), flush=True)
if a.potluck:
    print(json.dumps({"same": same, "of": count}))
    sys.exit(0 if 10 * same >= 9 * count else 1)
