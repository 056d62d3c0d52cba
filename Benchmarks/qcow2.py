#!/usr/bin/env python3
"""Mirrors from and into qcow2 images: ringmirror against qemu-img. See README.md."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from lib import command, disks, images, table  # noqa: E402
from lib.command import say  # noqa: E402
from lib.disks import show_size  # noqa: E402


def arguments():
    size = "size of the disk in the images; the compressed image is a quarter of it, the sparse one 256 times it"
    return command.parse(command.parser("qcow2", __doc__, images.CASES, images.NAMES, size))


def copy_cases(args, plan, workspace):
    """One raw file serves them all: as what the image reads as, and as what is written into images."""
    source, image, target = (workspace.file(name) for name in ("source.img", "source.qcow2", "target.img"))
    finished = []
    say(f"Writing {show_size(plan.size)} of random source ...")
    disks.write_random(source, [(0, plan.size)], size=plan.size)
    if "read" in args.cases:
        say(f"\nCase read: {show_size(plan.size)}, qcow2 image to raw file")
        images.tool("qemu-img", "convert", "-t", "none", "-f", "raw", "-O", "qcow2", source, image)
        title = "fully allocated qcow2 image to raw file"
        finished.append(images.read_case("read", title, plan.size, plan, image, source, target, say))
        for name in ("source.qcow2", "target.img"):
            workspace.remove(name)
    titles = {"new": "raw file to new qcow2 image", "existing": "raw file to qcow2 image with preallocated metadata"}
    for key, title in titles.items():
        if key in args.cases:
            say(f"\nCase {key}: {show_size(plan.size)}, {title}")
            finished.append(images.write_case(key, title, workspace, plan, source, say))
    workspace.remove("source.img")
    return finished


def main():
    args = arguments()
    home = command.home_of(args, 3.2)
    plan = command.Plan(args, images.contenders(args.ringmirror))
    facts = command.introduce(home, plan)
    finished = []
    with disks.Workspace(args.dir) as workspace:
        if {"read", "new", "existing"} & set(args.cases):
            finished += copy_cases(args, plan, workspace)
        if "compressed" in args.cases:
            finished.append(images.compressed_case(workspace, plan, say))
        if "map" in args.cases:
            finished.append(images.map_case(workspace, plan, say))
    goals = table.image_goals(finished)
    command.report(plan, finished, goals, table.copy_table)
    command.save("qcow2", args, plan, facts, finished, goals)
    return command.status(args, finished, goals)


if __name__ == "__main__":
    command.run(main)
