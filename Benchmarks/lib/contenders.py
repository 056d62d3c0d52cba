"""The tools that are compared, each with the command its users are told to use."""

import json
import os
import shutil
from dataclasses import asdict, dataclass

from . import measure


@dataclass
class Contender:
    name: str
    tool: str  # the program, looked up in PATH
    version: tuple = ("--version",)
    peer: bool = True
    truncates: bool = False  # truncates a target file first, so it rewrites newly allocated blocks
    scales_to_sparse: bool = True

    def argv(self, source, target, job):
        """The command. `job`: `rewrite` an existing target, `create` a new one, or make an `existing` sparse one equal."""
        raise NotImplementedError

    def missing(self):
        return None if shutil.which(self.tool) else f"{self.tool} is not installed"

    def version_line(self):
        return measure.first_line([self.tool, *self.version])

    def run(self, source, target, job="rewrite"):
        """Copy once. The closing fdatasync is in the clock for everybody: it is free for who has flushed."""
        sample, text = measure.run(self.argv(source, target, job), flush=target)
        sample.extra = self.report(text)
        return sample

    def report(self, text):
        return {}


class RingMirror(Contender):
    def argv(self, source, target, job):
        return [self.tool, "full", source, target, "--create" if job == "create" else "--overwrite", "--json"]

    def missing(self):
        return None if os.access(self.tool, os.X_OK) else f"{os.path.relpath(self.tool)} is not built (swift build -c release)"

    def report(self, text):
        """The last line of JSON is the report. It is kept as it is; no figure here depends on it."""
        for line in reversed(text.strip().splitlines()):
            try:
                report = json.loads(line)
            except ValueError:
                continue
            return report if isinstance(report, dict) else {}
        return {}


class QemuImg(Contender):
    def argv(self, source, target, job):
        reuse = [] if job == "create" else ["-n"]
        formats = ["-f", "raw", "-O", "raw"]
        return [self.tool, "convert", *reuse, "-W", "-m", "16", "-t", "none", "-T", "none", *formats, source, target]


class NbdCopy(Contender):
    def argv(self, source, target, job):
        return [self.tool, "--flush", source, target]


class DD(Contender):
    def argv(self, source, target, job):
        direct = ["bs=4M", "iflag=direct", "oflag=direct", "conv=fdatasync,notrunc"]
        return [self.tool, f"if={source}", f"of={target}", *direct]


@dataclass
class CP(Contender):
    reflink: bool = False  # the filesystem could share blocks instead of copying them

    def argv(self, source, target, job):
        options = ["--reflink=never"] if self.reflink else []
        if job == "create":
            options += ["--sparse=always"]
        return [self.tool, *options, source, target]


def all_contenders(ringmirror, fstype):
    """Everyone but fio, which is the ceiling and lives in ceiling.py."""
    return [
        RingMirror("ringmirror", ringmirror, peer=False),
        QemuImg("qemu-img", "qemu-img"),
        NbdCopy("nbdcopy", "nbdcopy", truncates=True),
        DD("dd", "dd", scales_to_sparse=False),
        CP("cp", "cp", truncates=True, reflink=fstype in ("btrfs", "xfs", "bcachefs", "zfs")),
    ]


NAMES = ("ringmirror", "fio", "qemu-img", "nbdcopy", "dd", "cp")


def as_json(sample):
    return {key: round(value, 6) if isinstance(value, float) else value for key, value in asdict(sample).items()}
