#!/usr/bin/env python3
"""One file of bytes that nobody can compress, from one program to another over loopback: potluck, sendme (iroh-blobs) and
libtorrent in turn, in the same minutes, on the same disk. Prints one JSON line per run and then a table of medians.

    cargo build --release && cargo install --locked sendme@0.37.1 --root DIR
    python3 -m venv VENV && VENV/bin/pip install libtorrent==2.1.1
    VENV/bin/python tests/exchange/side_by_side.py --potluck target/release/potluck --sendme DIR/bin/sendme --rounds 5

A program that is not given is left out. What is timed: for potluck, from the request to a running daemon until every shard
is verified and written (and, apart from it, until all of it is durable); for sendme, the whole `receive` command until it
exits, its start-up of a few tenths of a second and its export included; for libtorrent, from `add_torrent` until the leecher
says that it is seeding. Only potluck waits for the disk."""

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))


def noise(path, size):
    """Random bytes: the same work for everybody, and nothing to compress or share."""
    with open(path, "wb") as file:
        for start in range(0, size, 1 << 20):
            file.write(os.urandom(min(1 << 20, size - start)))


def potluck(program, size, folder, number, extra):
    command = [program, "--json", "bench", "exchange", "--size", str(size), "--seed", str(number), "--folder", folder]
    done = subprocess.run(command + extra, check=True, stdout=subprocess.PIPE)
    report = json.loads(done.stdout.splitlines()[-1])
    memory = [report["puller"]["peak_rss_mb"]] + [one["peak_rss_mb"] for one in report["providers"]]
    cpu = [report["puller"]["cpu_seconds"]] + [one["cpu_seconds"] for one in report["providers"]]
    return {
        "tool": f"potluck ({report['transport']})",
        "mib_per_second": report["mib_per_second"],
        "durable_mib_per_second": report["durable_mib_per_second"],
        "disk_mib_per_second": report["disk_mib_per_second"],
        "peak_rss_mb": max(memory),
        "cpu_seconds": sum(cpu),
    }


def peak_rss_mb(pid):
    with open(f"/proc/{pid}/status") as status:
        found = re.search(r"VmHWM:\s*(\d+) kB", status.read())
    return round(int(found.group(1)) * 1024 / 1e6, 1) if found else None


def sendme(program, size, folder):
    file, out = os.path.join(folder, "noise.bin"), os.path.join(folder, "out")
    os.makedirs(out)
    noise(file, size)
    local = ["--relay", "disabled", "--no-progress"]
    sender = subprocess.Popen(
        [program, "send", "--ticket-type", "addresses", *local, file],
        cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )
    try:
        ticket = None
        for line in sender.stdout:
            found = re.search(r"sendme receive (\S+)", line)
            if found:
                ticket = found.group(1)
                break
        if ticket is None:
            raise RuntimeError("sendme gave no ticket")
        start = time.monotonic()
        usage = resource_children()
        subprocess.run([program, "receive", *local, ticket], cwd=out, check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        seconds = time.monotonic() - start
        cpu = resource_children() - usage
        memory = peak_rss_mb(sender.pid)
        with open(f"/proc/{sender.pid}/stat") as stat:
            fields = stat.read().rsplit(") ", 1)[1].split(" ")
        # The sender's time holds its import of the file too.
        sender_cpu = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    finally:
        sender.kill()
        sender.wait()
    same = subprocess.run(["cmp", "-s", file, os.path.join(out, "noise.bin")]).returncode == 0
    if not same:
        raise RuntimeError("sendme: the bytes differ")
    return {"tool": "sendme 0.37.1", "mib_per_second": size / seconds / 2**20, "peak_rss_mb": memory,
            "cpu_seconds": round(cpu + sender_cpu, 2)}


def resource_children():
    import resource
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def libtorrent(size, folder):
    file, out = os.path.join(folder, "noise.bin"), os.path.join(folder, "out")
    noise(file, size)
    usage = resource_children()
    done = subprocess.run([sys.executable, os.path.join(HERE, "torrent_pair.py"), file, out], check=True,
                          stdout=subprocess.PIPE)
    report = json.loads(done.stdout.splitlines()[-1])
    return {"tool": report["tool"] + " (not encrypted)", "mib_per_second": report["mib_per_second"],
            "cpu_seconds": round(resource_children() - usage, 2)}


def main():
    parse = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parse.add_argument("--potluck")
    parse.add_argument("--sendme")
    parse.add_argument("--no-libtorrent", action="store_true")
    parse.add_argument("--size", type=int, default=1 << 30, help="bytes")
    parse.add_argument("--rounds", type=int, default=5)
    parse.add_argument("--folder", help="the disk that is measured [default: the system's temporary folder]")
    parse.add_argument("--warm-up", type=int, default=1, help="rounds that are not counted")
    asked, extra = parse.parse_known_args()
    runs = {}
    for number in range(asked.rounds + asked.warm_up):
        for name in ("potluck", "sendme", "libtorrent"):
            with tempfile.TemporaryDirectory(prefix="side-by-side-", dir=asked.folder) as folder:
                if name == "potluck" and asked.potluck:
                    run = potluck(asked.potluck, asked.size, folder, number, extra)
                elif name == "sendme" and asked.sendme:
                    run = sendme(asked.sendme, asked.size, folder)
                elif name == "libtorrent" and not asked.no_libtorrent:
                    run = libtorrent(asked.size, folder)
                else:
                    continue
            print(json.dumps({"round": number, **run}), flush=True)
            if number >= asked.warm_up:
                runs.setdefault(run["tool"], []).append(run)
    print()
    print("| program | MiB/s, median (least, most) | durable | disk alone | peak MB of one process | CPU s |")
    print("|---|---|---|---|---|---|")
    for tool, all_runs in runs.items():
        def of(key):
            return [run[key] for run in all_runs if run.get(key) is not None]

        def median(key):
            return f"{statistics.median(of(key)):.0f}" if of(key) else ""

        speed = of("mib_per_second")
        cpu = f"{statistics.median(of('cpu_seconds')):.1f}" if of("cpu_seconds") else ""
        print(f"| {tool} | {statistics.median(speed):.0f} ({min(speed):.0f}, {max(speed):.0f}) "
              f"| {median('durable_mib_per_second')} | {median('disk_mib_per_second')} | {median('peak_rss_mb')} | {cpu} |")
    best = {tool: statistics.median([run["mib_per_second"] for run in all_runs]) for tool, all_runs in runs.items()}
    ours = [speed for tool, speed in best.items() if tool.startswith("potluck")]
    others = [speed for tool, speed in best.items() if not tool.startswith("potluck")]
    if ours and others:
        print(f"\npotluck against the best of the others: {max(ours) / max(others):.2f}")


if __name__ == "__main__":
    shutil.which("cmp") or sys.exit("cmp is needed")
    main()
