#!/usr/bin/env python3
"""The same adapters merged by potluck and by PEFT, in turn, every figure in a process of its own. Prints one JSON line per
run and then a table of medians.

    cargo build --release
    python3 -m venv VENV && VENV/bin/pip install -r tests/peft/requirements.txt
    VENV/bin/python tests/merge/side_by_side.py --potluck target/release/potluck --adapters DIR --rounds 3

DIR is made first if it is not there (peft_merge.py). What is timed: for potluck, opening the PEFT folders, merging, and
writing the result until it is durable; for PEFT, `add_weighted_adapter` alone, with the adapters loaded and nothing written.
Errors are relative to the exact sum in f64, by either program itself."""

import argparse
import json
import os
import statistics
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
PEFT = os.path.join(HERE, "peft_merge.py")

OURS = {
    "potluck sum": [],
    "potluck refit 128": ["--method", "refit", "--rank-out", "128"],
    "potluck refit 16": ["--method", "refit", "--rank-out", "16"],
    "potluck ties 16": ["--method", "ties", "--rank-out", "16", "--density", "0.5"],
    "potluck dare 16": ["--method", "dare", "--rank-out", "16", "--density", "0.5"],
}
THEIRS = {
    "PEFT linear": ["linear"],
    "PEFT cat": ["cat"],
    "PEFT svd 128": ["svd", "--rank-out", "128"],
    "PEFT svd 16": ["svd", "--rank-out", "16"],
    "PEFT ties": ["ties"],
    "PEFT dare_linear": ["dare_linear"],
    "PEFT ties_svd 16": ["ties_svd", "--rank-out", "16"],
}
# What is compared with what.
PAIRS = [
    ("potluck sum", "PEFT cat"),
    ("potluck refit 128", "PEFT svd 128"),
    ("potluck refit 16", "PEFT svd 16"),
    ("potluck ties 16", "PEFT ties_svd 16"),
]


def last_json(command):
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE)
    return json.loads(done.stdout.splitlines()[-1])


def potluck(asked, flags):
    folders = sorted(entry.path for entry in os.scandir(asked.adapters) if entry.is_dir())
    shape = os.path.join(asked.adapters, "config.json")
    command = [asked.potluck, "--json", "--quiet", "bench", "merge", "--shape", shape, "--threads", str(asked.threads)]
    return last_json(command + flags + ["--from", *folders])


def peft(asked, flags):
    command = [sys.executable, PEFT, "merge", asked.adapters, "--threads", str(asked.threads), "--method"]
    return last_json(command + flags)


def main():
    parse = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parse.add_argument("--potluck", required=True)
    parse.add_argument("--adapters", required=True, help="the folder of the adapters")
    parse.add_argument("--rounds", type=int, default=3)
    parse.add_argument("--threads", type=int, default=2)
    parse.add_argument("--only", help="run those whose names hold one of these words, with commas between them")
    asked = parse.parse_args()
    if not os.path.isdir(asked.adapters):
        subprocess.run([sys.executable, PEFT, "make", asked.adapters], check=True)
    words = asked.only.split(",") if asked.only else [""]
    runs = {}
    for number in range(asked.rounds):
        for name, flags in {**OURS, **THEIRS}.items():
            if not any(word in name for word in words):
                continue
            run = potluck(asked, flags) if name in OURS else peft(asked, flags)
            print(json.dumps({"round": number, "program": name, **run}), flush=True)
            runs.setdefault(name, []).append(run)
    table(runs)


def table(runs):
    def median(name, key):
        found = [run[key] for run in runs[name] if run.get(key) is not None]
        return statistics.median(found) if found else float("nan")

    print("\n| program | seconds, median (least, most) | peak MB | error | energy kept |")
    print("|---|---|---|---|---|")
    for name, all_runs in runs.items():
        seconds = [run["seconds"] for run in all_runs]
        kept = f"{100 * median(name, 'kept_energy'):.1f} %" if "kept_energy" in all_runs[0] else ""
        print(f"| {name} | {statistics.median(seconds):.2f} ({min(seconds):.2f}, {max(seconds):.2f}) "
              f"| {median(name, 'peak_rss_mb'):.0f} | {median(name, 'error'):.3g} | {kept} |")
    print()
    for ours, theirs in PAIRS:
        if ours in runs and theirs in runs:
            ratio = median(theirs, "seconds") / median(ours, "seconds")
            errors = f"error {median(ours, 'error'):.6g} against {median(theirs, 'error'):.6g}"
            print(f"{ours} beside {theirs}: {ratio:.1f} times as fast, {errors}")


if __name__ == "__main__":
    main()
