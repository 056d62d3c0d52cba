#!/usr/bin/env python3
"""Disks in use: what tracking costs their writers, and what a live mirror costs them and itself. See README.md."""

import argparse
import ctypes
import json
import os
import random
import re
import shutil
import signal
import statistics
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from lib import command, disks, measure  # noqa: E402
from lib.command import say  # noqa: E402
from lib.disks import MIB, parse_size, show_size  # noqa: E402

CASES = ("tracking", "events", "writer", "copy", "pause", "amplification")


def arguments():
    found = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    add = found.add_argument
    add("--rounds", type=int, default=5, help="rounds of each comparison, interleaved in random order")
    add("--size", type=parse_size, default="1G", help="of the disks")
    add("--seconds", type=float, default=3, help="how long each writer runs whose speed is measured")
    add("--cases", default=",".join(CASES), help="separated by commas")
    add("--dir", default=".", help="where a temporary directory for the images is made")
    add("--ringmirror", default=os.path.join(command.ROOT, ".build", "release", "ringmirror"), help="its binary")
    add("--json", help="where the figures go")
    args = found.parse_args()
    args.cases = args.cases.split(",")
    if set(args.cases) - set(CASES):
        found.error(f"--cases knows {', '.join(CASES)}")
    if os.geteuid():
        found.error("run it as root: it tracks disks and mounts filesystems")
    return args


class Rig:
    """Disks of our own, and the program."""

    def __init__(self, args, workspace):
        self.args, self.workspace = args, workspace
        self.environment = os.environ | {"RINGMIRROR_STATE_DIR": workspace.file("state")}
        self.dice = random.Random()

    def ringmirror(self, *words, check=True):
        done = subprocess.run([self.args.ringmirror, *words], capture_output=True, text=True, env=self.environment)
        if check and done.returncode:
            raise measure.Failed(f"ringmirror {' '.join(words)}: {done.returncode}: {done.stderr.strip()}")
        return done.stdout

    def loop(self, name):
        path = self.workspace.file(name)
        disks.fill(path, self.args.size)
        return self.workspace.attach(path)

    def fio(self, target, *words, seconds=None, directory=False):
        """Runs one writer of 4 KiB blocks, and returns what fio says of its writes."""
        place = f"--directory={target}" if directory else f"--filename={target}"
        done = subprocess.run(
            ["fio", "--name=writer", place, "--rw=randwrite", "--bs=4k", "--ioengine=io_uring", "--direct=1",
             "--time_based", f"--runtime={seconds or self.args.seconds}", "--randrepeat=0", "--zero_buffers=0",
             "--output-format=json", *words], capture_output=True, text=True)
        if done.returncode:
            raise measure.Failed(f"fio: {done.stderr.strip()}")
        return json.loads(done.stdout[done.stdout.index("{"):])["jobs"][0]["write"]

    def orders(self):
        """Round by round, which of both comes first."""
        for _ in range(self.args.rounds):
            order = [False, True]
            self.dice.shuffle(order)
            yield order


def ratios(rig, run):
    """`run(is_on)` in turns; the ratio with : without of each round. The first round is not counted."""
    run(False), run(True)
    found = []
    for order in rig.orders():
        values = {is_on: run(is_on) for is_on in order}
        found.append(values[True] / values[False])
    return found


def show(name, values, goal=None, better=max):
    middle = statistics.median(values)
    met = "" if goal is None else f"  goal {goal}: {'met' if better(middle, goal) == middle else 'missed'}"
    say(f"  {name}: {middle:.3f} (from {min(values):.3f} to {max(values):.3f}){met}")
    return {"median": middle, "values": values, "goal": goal}


class Zram:
    """A zram disk of our own, with the kernel's account switched on; None where there is no zram."""

    def __init__(self, size):
        self.number, self.path = None, None
        try:
            with open("/sys/class/zram-control/hot_add") as add:
                self.number = int(add.read())
            with open(f"/sys/block/zram{self.number}/disksize", "w") as knob:
                knob.write(str(size))
            with open(f"/sys/block/zram{self.number}/queue/iostats", "w") as knob:
                knob.write("1")
            self.path = f"/dev/zram{self.number}"
        except OSError:
            self.close()

    def close(self):
        if self.number is None:
            return
        with open(f"/sys/block/zram{self.number}/reset", "w") as knob:
            knob.write("1")
        with open("/sys/class/zram-control/hot_remove", "w") as knob:
            knob.write(str(self.number))
        self.number = None


def each_disk(rig):
    """A loop disk and, where there is that, a zram disk."""
    loop = rig.loop("tracked.img")
    yield "loop", loop, 0.95
    rig.workspace.detach(loop)
    zram = Zram(rig.args.size)
    try:
        if zram.path:
            yield "zram", zram.path, 0.8
        else:
            say("  zram: skipped, there is none")
    finally:
        zram.close()


def tracking(rig):
    """IOPS of 4 KiB random writes, tracked : not tracked."""
    found = {}
    for name, disk, goal in each_disk(rig):

        def run(is_on, disk=disk):
            if is_on:
                rig.ringmirror("track", "start", disk, "--bitmap", "n")
            try:
                return rig.fio(disk, "--iodepth=32")["iops"]
            finally:
                if is_on:
                    rig.ringmirror("track", "stop", disk)

        found[name] = show(f"{name}, IOPS tracked : not", ratios(rig, run), goal)
    return found


def program_times(disk):
    """Nanoseconds and runs of each pinned program of a disk."""
    with open(f"/sys/block/{os.path.basename(disk)}/dev") as dev:
        folder = f"/sys/fs/bpf/ringmirror/disk-{dev.read().strip().replace(':', '-')}"
    found = {}
    for name in sorted(os.listdir(folder)):
        if "_program_" not in name:
            continue
        path = ctypes.create_string_buffer(os.path.join(folder, name).encode())
        attributes = ctypes.create_string_buffer(128)
        ctypes.memmove(attributes, ctypes.byref(ctypes.c_uint64(ctypes.addressof(path))), 8)
        handle = ctypes.CDLL(None, use_errno=True).syscall(321, 7, attributes, 128)  # BPF_OBJ_GET on x86-64
        if handle < 0:
            raise measure.Failed(f"{folder}/{name} can't be opened")
        with open(f"/proc/self/fdinfo/{handle}") as info:
            text = info.read()
        os.close(handle)
        found[name] = tuple(int(re.search(rf"{key}:\s+(\d+)", text)[1]) for key in ("run_time_ns", "run_cnt"))
    return found


def events(rig):
    """Nanoseconds of the kernel's programs for each event, while the kernel measures them (which costs by itself)."""
    found = {}
    knob = "/proc/sys/kernel/bpf_stats_enabled"
    for name, disk, _ in each_disk(rig):
        rig.ringmirror("track", "start", disk, "--bitmap", "n")
        with open(knob, "w") as switch:
            switch.write("1")
        try:
            rig.fio(disk, "--iodepth=32")
            times = program_times(disk)
        finally:
            with open(knob, "w") as switch:
                switch.write("0")
            rig.ringmirror("track", "stop", disk)
        for event in ("queue", "bio", "request"):
            copies = [pair for program, pair in times.items() if program.startswith(event)]
            if min(runs for _, runs in copies) > 1000:
                cost = sum(spent / runs for spent, runs in copies)
                found[f"{name} {event}"] = show(f"{name}, {event}, ns an event", [cost], 100, min)
    return found


class Mounted:
    """An ext4 filesystem on a disk of ours, with a file that fio has laid out."""

    def __init__(self, rig, disk):
        self.rig, self.disk, self.place = rig, disk, rig.workspace.file("place")
        os.makedirs(self.place, exist_ok=True)
        subprocess.run(["mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0", disk], check=True)
        subprocess.run(["mount", disk, self.place], check=True)
        rig.fio(self.place, self.size, seconds=0.5, directory=True)

    @property
    def size(self):
        return f"--size={self.rig.args.size // 4}"

    def close(self):
        subprocess.run(["umount", self.place], check=True)


def with_disks(rig, body):
    source, target = rig.loop("source.img"), rig.loop("target.img")
    mounted = Mounted(rig, source)
    try:
        return body(source, target, mounted)
    finally:
        mounted.close()
        rig.workspace.detach(source)
        rig.workspace.detach(target)


def live(rig, source, target, *words):
    """One live mirror: its report."""
    text = rig.ringmirror(
        "live", source, target, "--freeze", "--max-pause", "20s", "--overwrite", "--json", *words)
    return [json.loads(line) for line in text.splitlines() if '"report"' in line][-1]


def writer(rig):
    """IOPS and p99 latency of 4 KiB random writes to a file, while the disk is mirrored again and again : alone."""

    def body(source, target, mounted):
        latencies = []

        def run(is_on):
            over = threading.Event()

            def mirror():
                while not over.is_set():
                    live(rig, source, target)

            thread = threading.Thread(target=mirror) if is_on else None
            if thread:
                thread.start()
                time.sleep(0.3)
            found = rig.fio(mounted.place, mounted.size, "--iodepth=4", directory=True)
            over.set()
            if thread:
                thread.join()
            latencies.append((is_on, found["clat_ns"]["percentile"]["99.000000"]))
            return found["iops"]

        found = {"iops": show("writer's IOPS, mirrored : alone", ratios(rig, run))}
        middle = [statistics.median(value for on, value in latencies[2:] if on == is_on) for is_on in (True, False)]
        found["p99"] = show("writer's p99 latency, mirrored : alone", [middle[0] / middle[1]])
        return found

    return with_disks(rig, body)


def copy(rig):
    """Seconds of a full mirror of the disk at rest : of a live one with a light writer (1 MB/s)."""

    def body(source, target, mounted):
        def run(is_live):
            quiet = subprocess.Popen(
                ["fio", "--name=light", f"--directory={mounted.place}", mounted.size, "--rw=randwrite", "--bs=4k",
                 "--rate=1m", "--time_based", "--runtime=600", "--direct=1", "--output=/dev/null"],
                stdout=subprocess.DEVNULL) if is_live else None
            time.sleep(0.5)
            try:
                if is_live:
                    report = live(rig, source, target)
                else:
                    text = rig.ringmirror(
                        "full", source, target, "--overwrite", "--allow-source-in-use", "--json")
                    report = [json.loads(line) for line in text.splitlines() if '"report"' in line][-1]
                return report["planned"] / report["seconds"]
            finally:
                if quiet:
                    quiet.send_signal(signal.SIGINT)
                    quiet.wait()

        return {"copy": show("speed of the mirror, live : at rest", ratios(rig, run), 0.9)}

    return with_disks(rig, body)


def pauses_and_amplification(rig, rates, of):
    """Live mirrors while fio writes 4 KiB blocks at random places at given rates (in MB/s)."""

    def body(source, target, mounted):
        found = {}
        for rate in rates:
            values = []
            for _ in range(rig.args.rounds):
                busy = subprocess.Popen(
                    ["fio", "--name=busy", f"--directory={mounted.place}", mounted.size, "--rw=randwrite", "--bs=4k",
                     f"--rate={rate}m", "--time_based", "--runtime=600", "--direct=1", "--ioengine=io_uring",
                     "--iodepth=8", "--output=/dev/null"], stdout=subprocess.DEVNULL)
                time.sleep(1)
                before = written(source)
                try:
                    report = live(rig, source, target)
                finally:
                    busy.send_signal(signal.SIGINT)
                    busy.wait()
                values.append(of(report, written(source) - before, rig.args.size))
            found[f"{rate} MB/s"] = values
        return found

    return with_disks(rig, body)


def written(disk):
    """Bytes that the kernel has counted as written to a disk."""
    with open(f"/sys/block/{os.path.basename(disk)}/stat") as stat:
        return int(stat.read().split()[6]) * 512


def pause(rig):
    """Milliseconds that the writers waited, at several rates of dirtying."""

    def of(report, _, __):
        evidence = next(item["text"] for item in report["evidence"] if item["code"] == "provenMoment")
        return float(re.search(r"frozen for (\d+) ms", evidence)[1])

    found = pauses_and_amplification(rig, (1, 10, 100), of)
    return {rate: show(f"pause at {rate}, ms", values) for rate, values in found.items()}


def amplification(rig):
    """Bytes copied beyond the disk's size, for each byte that was written meanwhile."""

    def of(report, written_, size):
        return max(report["read"] - size, 0) / max(written_, 1)

    found = pauses_and_amplification(rig, (10,), of)
    return {rate: show(f"copied again for each byte written, at {rate}", values, 1.2, min)
            for rate, values in found.items()}


def main():
    args = arguments()
    for program in ("fio", "mkfs.ext4", args.ringmirror):
        if not shutil.which(program):
            raise measure.Failed(f"{program} is not installed")
    found = {}
    with disks.Workspace(args.dir) as workspace:
        rig = Rig(args, workspace)
        os.makedirs(workspace.file("state"))
        for name in args.cases:
            case = globals()[name]
            say(f"\n{name}: {case.__doc__}")
            found[name] = case(rig)
    if args.json:
        with open(args.json, "w") as file:
            json.dump({"size": show_size(args.size), "rounds": args.rounds, "cases": found}, file, indent=1)
    return 0


if __name__ == "__main__":
    command.run(main)
