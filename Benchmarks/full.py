#!/usr/bin/env python3
"""Full mirrors: ringmirror against the tools people use today, and against fio as the ceiling. See README.md."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from lib import cases, command, disks, table  # noqa: E402
from lib.command import say  # noqa: E402
from lib.contenders import NAMES, all_contenders  # noqa: E402
from lib.disks import show_size  # noqa: E402

CASES = ("files", "loops", "sparse")


def arguments():
    size = "image size; the sparse image is 16 times it, its data a quarter"
    return command.parse(command.parser("full", __doc__, CASES, NAMES, size, "256K,512K,1M,2M,4M", "8,16,32"))


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


def main():
    args = arguments()
    home = command.home_of(args, 3.2)
    plan = command.Plan(args, all_contenders(args.ringmirror, home["fstype"]))
    facts = command.introduce(home, plan)
    finished = []
    with disks.Workspace(args.dir) as workspace:
        if {"files", "loops"} & set(args.cases):
            finished += copy_cases(args, plan, workspace)
        if "sparse" in args.cases:
            say("\nCase sparse: a sparse image, and an image that is its data alone (sparse/dense)")
            finished.append(cases.sparse_case(workspace, plan, say))
    goals = table.goals(finished, [contender.name for contender in plan.contenders if contender.peer])
    command.report(plan, finished, goals, lambda case: (table.sparse_table if case.key == "sparse" else table.copy_table)(case))
    command.save("full", args, plan, facts, finished, goals)
    return command.status(args, finished, goals)


if __name__ == "__main__":
    command.run(main)
