"""What the benchmarks' commands have in common: arguments, the plan, the report, the results, the ends they may come to."""

import argparse
import datetime
import json
import os
import random
import shutil
import signal
import sys

from . import disks, machine
from .disks import MIB, parse_size, show_size
from .measure import Failed

HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
ROOT = os.path.dirname(HERE)
USUAL_SIZE = 4 << 30


def say(text="", end="\n"):
    print(text, end=end, flush=True)


def parser(what, doc, cases, contenders, size_help, fio_sizes=None, fio_depths=None):
    """The arguments that every benchmark has. `what` names it in file names and messages; those of fio come with fio."""

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

    found = argparse.ArgumentParser(description=doc, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    add = found.add_argument
    add("--rounds", type=int, default=5, help="counted rounds, after one for warming up")
    add("--size", type=parse_size, default=show_size(USUAL_SIZE), help=size_help)
    add("--cases", type=names(cases), default=",".join(cases), help="separated by commas")
    add("--contenders", type=names(contenders), default=",".join(contenders), help="separated by commas")
    add("--dir", default=".", help="where a temporary directory for the images is made")
    add("--ringmirror", default=os.path.join(ROOT, ".build", "release", "ringmirror"), help="its binary")
    if fio_sizes:
        add("--fio-sizes", type=sizes, default=fio_sizes, help="request sizes of the sweep")
        add("--fio-depths", type=counts, default=fio_depths, help="queue depths of the sweep")
    add("--rest", type=float, default=1.0, help="seconds of rest before each clock starts")
    add("--seed", type=int, help="seed of the order of the runs, and of what else is drawn (default: the time)")
    add("--json", help=f"where results go (default: Benchmarks/results/DATE-{what}.json)")
    add("--strict", action="store_true", help="exit with 1 when a goal is missed or was not measured")
    return found


def parse(found):
    args = found.parse_args()
    if args.rounds < 1:
        found.error("--rounds must be at least 1")
    if args.size % (64 * MIB) or not args.size:
        found.error("--size must be a multiple of 64M")
    if os.geteuid():
        found.error("run it as root: it drops the page cache, makes loop devices and reserves huge pages")
    return args


class Plan:
    """What is run: the contenders that are there, sizes, rounds and the dice for the order."""

    def __init__(self, args, candidates):
        self.size, self.rounds = args.size, args.rounds
        self.rest = args.rest
        self.fio_sizes, self.fio_depths = getattr(args, "fio_sizes", []), getattr(args, "fio_depths", [])
        self.seed = args.seed if args.seed is not None else int(datetime.datetime.now().timestamp())
        self.dice = random.Random(self.seed)
        self.skipped = {}
        self.contenders = []
        for contender in candidates:
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


def home_of(args, times):
    """The filesystem under --dir, if it is a disk's and has `times` --size free; else the end."""
    home = disks.filesystem(args.dir)
    if home["fstype"] in ("tmpfs", "ramfs"):
        raise Failed(f"{args.dir} is on {home['fstype']}: that measures memory. Give --dir on a disk.")
    free = shutil.disk_usage(args.dir).free
    if free < times * args.size:
        needed = int(times * args.size) // MIB
        raise Failed(f"{args.dir} has {free // MIB} MiB free, {needed} are needed. Give --dir or a smaller --size.")
    return home


def introduce(home, plan):
    """Say what this machine is, and return it."""
    facts = machine.facts(home, plan, ROOT)
    for line in machine.lines(facts, plan):
        say(line)
    return facts


def report(plan, finished, goals, lines_of):
    """Print the tables, which `lines_of` makes of a case, and the goals."""
    for case in finished:
        say(f"\n{case.key}: {case.title}, medians of {plan.rounds}")
        for line in lines_of(case):
            say(line)
    for name, why in plan.skipped.items():
        say(f"\nSkipped: {name}: {why}")
    if goals:
        say("\nGoals (medians of the ratios of each round)")
    for goal in goals:
        say(goal.line())


def save(what, args, plan, facts, finished, goals):
    path = args.json
    if not path:
        small = "" if args.size == USUAL_SIZE else "-" + show_size(args.size)
        path = os.path.join(HERE, "results", f"{datetime.date.today()}-{what}{small}.json")
    os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    everything = {
        "what": what, "date": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
        "seed": plan.seed, "rounds": plan.rounds, "size": plan.size, "machine": facts, "skipped": plan.skipped,
        "cases": {case.key: case.as_json() for case in finished}, "goals": [goal.as_json() for goal in goals],
    }
    with open(path, "w") as file:
        json.dump(everything, file, indent=1)
        file.write("\n")
    say(f"\nAll samples: {os.path.relpath(path)}")


def status(args, finished, goals):
    """1 if ringmirror failed, or, with --strict, if a goal was missed or not measured."""
    if any(row.startswith("ringmirror") for case in finished for row in case.failed):
        return 1
    return 1 if args.strict and not all(goal.met for goal in goals) else 0


def run(main):
    """Run `main` to its end, whatever that is; everything is given back before."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(130))
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        say("\nInterrupted; loop devices, huge pages and files are given back.")
        sys.exit(130)
    except (Failed, OSError) as why:
        sys.exit(f"{os.path.basename(sys.argv[0])}: {why}")
