#!/usr/bin/env python3
"""Full mirrors: ringmirror against the tools people use today, and against fio as the ceiling. See README.md."""

import argparse
import datetime
import json
import os
import random
import shutil
import signal
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
sys.path.insert(0, HERE)

from lib import cases, disks, machine, table  # noqa: E402
from lib.contenders import NAMES, all_contenders  # noqa: E402
from lib.disks import MIB, parse_size, show_size  # noqa: E402
from lib.measure import Failed  # noqa: E402

CASES = ("files", "loops", "sparse")


def say(text="", end="\n"):
    print(text, end=end, flush=True)


def arguments():
    def names(allowed):
        def parse(text):
            chosen = text.split(",")
            for name in chosen:
                if name not in allowed:
                    raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(allowed)}")
            return chosen

        return parse

    def counts(text):
        return [int(number) for number in text.split(",")]

    def sizes(text):
        return [parse_size(size) for size in text.split(",")]

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="counted rounds, after one for warming up")
    parser.add_argument("--size", type=parse_size, default="4G", help="image size; the sparse image is 16 times it, its data a quarter")
    parser.add_argument("--cases", type=names(CASES), default=",".join(CASES))
    parser.add_argument("--contenders", type=names(NAMES), default=",".join(NAMES))
    parser.add_argument("--dir", default=".", help="where a temporary directory for the images is made")
    parser.add_argument("--ringmirror", default=os.path.join(ROOT, ".build", "release", "ringmirror"), help="its binary")
    parser.add_argument("--fio-sizes", type=sizes, default="256K,512K,1M,2M,4M", help="request sizes of the sweep")
    parser.add_argument("--fio-depths", type=counts, default="8,16,32", help="queue depths of the sweep")
    parser.add_argument("--rest", type=float, default=1.0, help="seconds of rest before each clock starts")
    parser.add_argument("--seed", type=int, help="seed of the order of the runs (default: the time)")
    parser.add_argument("--json", help="where results go (default: Benchmarks/results/DATE-full.json)")
    parser.add_argument("--strict", action="store_true", help="exit with 1 when a goal is missed or was not measured")
    args = parser.parse_args()
    if args.rounds < 1:
        parser.error("--rounds must be at least 1")
    if args.size % (64 * MIB):
        parser.error("--size must be a multiple of 64M")
    if os.geteuid():
        parser.error("run it as root: it drops the page cache, makes loop devices and reserves huge pages")
    return args


class Plan:
    """What is run: the contenders that are there, sizes, rounds and the dice for the order."""

    def __init__(self, args, fstype):
        self.size, self.rounds = args.size, args.rounds
        self.rest = args.rest
        self.fio_sizes, self.fio_depths = args.fio_sizes, args.fio_depths
        self.seed = args.seed if args.seed is not None else int(datetime.datetime.now().timestamp())
        self.dice = random.Random(self.seed)
        self.skipped = {}
        self.contenders = []
        for contender in all_contenders(args.ringmirror, fstype):
            if contender.name in args.contenders:
                why = contender.missing()
                if why:
                    self.skipped[contender.name] = why
                else:
                    self.contenders.append(contender)
        self.fio = "fio" in args.contenders
        if self.fio and not shutil.which("fio"):
            self.skipped["fio"] = "fio is not installed"
            self.fio = False


def copy_cases(args, plan, workspace):
    """The same files serve both cases: directly, and under loop devices."""
    source, target, truncated = (workspace.file(name) for name in ("source.img", "target.img", "truncated.img"))
    say(f"Writing {show_size(plan.size)} of random source and the targets ...")
    disks.write_random(source, [(0, plan.size)], size=plan.size)
    disks.fill(target, plan.size)
    finished = []
    if "files" in args.cases:
        say(f"\nCase files: {show_size(plan.size)}, image file to image file")
        disks.fill(truncated, plan.size)
        targets = {"rewrite": target, "truncate": truncated}
        finished.append(cases.copy_case("files", "image file to image file", workspace, plan, source, targets, say))
        workspace.remove("truncated.img")
    if "loops" in args.cases:
        say(f"\nCase loops: {show_size(plan.size)}, loop device to loop device, direct I/O")
        loops = [workspace.attach(source, readonly=True), workspace.attach(target)]
        targets = {"rewrite": loops[1], "truncate": loops[1]}  # a device is not truncated
        title = "loop device to loop device"
        finished.append(cases.copy_case("loops", title, workspace, plan, loops[0], targets, say))
        for node in loops:
            workspace.detach(node)
    for name in ("source.img", "target.img"):
        workspace.remove(name)
    return finished


def report(plan, finished):
    """Print tables and goals; return the goals."""
    for case in finished:
        say(f"\n{case.key}: {case.title}, medians of {plan.rounds}")
        for line in table.sparse_table(case) if case.key == "sparse" else table.copy_table(case):
            say(line)
    for name, why in plan.skipped.items():
        say(f"\nSkipped: {name}: {why}")
    goals = table.goals(finished, [contender.name for contender in plan.contenders if contender.peer])
    say("\nGoals (medians of the ratios of each round)")
    for goal in goals:
        say(goal.line())
    return goals


def save(args, plan, facts, finished, goals):
    path = args.json
    if not path:
        small = "" if args.size == 4 << 30 else "-" + show_size(args.size)
        path = os.path.join(HERE, "results", f"{datetime.date.today()}-full{small}.json")
    os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    everything = {
        "what": "full", "date": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
        "seed": plan.seed, "rounds": plan.rounds, "size": plan.size, "machine": facts, "skipped": plan.skipped,
        "cases": {case.key: case.as_json() for case in finished}, "goals": [goal.as_json() for goal in goals],
    }
    with open(path, "w") as file:
        json.dump(everything, file, indent=1)
        file.write("\n")
    say(f"\nAll samples: {os.path.relpath(path)}")


def main():
    args = arguments()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(130))
    home = disks.filesystem(args.dir)
    if home["fstype"] in ("tmpfs", "ramfs"):
        sys.exit(f"full.py: {args.dir} is on {home['fstype']}: that measures memory. Give --dir on a disk.")
    free = shutil.disk_usage(args.dir).free
    if free < 3.2 * args.size:
        sys.exit(f"full.py: {args.dir} has {free // MIB} MiB free, {int(3.2 * args.size) // MIB} are needed. Give --dir or a smaller --size.")
    plan = Plan(args, home["fstype"])
    facts = machine.facts(home, plan, ROOT)
    for line in machine.lines(facts, plan):
        say(line)
    finished = []
    with disks.Workspace(args.dir) as workspace:
        if {"files", "loops"} & set(args.cases):
            finished += copy_cases(args, plan, workspace)
        if "sparse" in args.cases:
            say("\nCase sparse: a sparse image, and an image that is its data alone (sparse/dense)")
            finished.append(cases.sparse_case(workspace, plan, say))
    goals = report(plan, finished)
    save(args, plan, facts, finished, goals)
    if any(row.startswith("ringmirror") for case in finished for row in case.failed):
        return 1
    return 1 if args.strict and not all(goal.met for goal in goals) else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        say("\nInterrupted; loop devices, huge pages and files are given back.")
        sys.exit(130)
    except (Failed, OSError) as why:
        sys.exit(f"full.py: {why}")
