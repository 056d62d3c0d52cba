#!/usr/bin/env python3
"""Incremental mirrors: ringmirror against QEMU's backup job, and against fio as the ceiling. See README.md."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from lib import command, disks, increments, table  # noqa: E402
from lib.command import say  # noqa: E402
from lib.contenders import DD  # noqa: E402
from lib.disks import show_size  # noqa: E402


def arguments():
    size = "image size, of which each case's share is dirty"
    names = increments.CASES, increments.NAMES
    parser = command.parser("incremental", __doc__, *names, size, "64K,256K,1M", "32,64,128")
    parser.add_argument("--sweep-qemu", action="store_true", help="instead, race QEMU's settings against one another")
    return command.parse(parser)


def images(plan, workspace):
    """A source of random bytes, and a target that is its last mirror: all blocks allocated and written."""
    source, target = workspace.file("source.img"), workspace.file("target.img")
    say(f"Writing {show_size(plan.size)} of random source and its last mirror ...")
    disks.write_random(source, [(0, plan.size)], size=plan.size)
    disks.fill(target, plan.size)
    return source, target


def main():
    args = arguments()
    home = command.home_of(args, 2.1)
    what, candidates = "incremental", increments.contenders(args.ringmirror)
    if args.sweep_qemu:
        what, candidates = "qemu-settings", increments.qemu_settings()
        args.contenders = [contender.name for contender in candidates]
    plan = command.Plan(args, candidates)
    facts = command.introduce(home, plan)
    with disks.Workspace(args.dir) as workspace:
        source, target = images(plan, workspace)
        finished = []
        for key in args.cases:
            # What the last case left is no mirror where this one calls it clean.
            DD("dd", "dd").run(source, target)
            finished.append(increments.incremental_case(key, workspace, plan, source, target, say))
    goals = [] if args.sweep_qemu else table.incremental_goals(finished)
    command.report(plan, finished, goals, table.copy_table)
    command.save(what, args, plan, facts, finished, goals)
    return command.status(args, finished, goals)


if __name__ == "__main__":
    command.run(main)
