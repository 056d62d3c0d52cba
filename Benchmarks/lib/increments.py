"""Incremental mirrors: the contenders, and the case that races them over one set of dirty clusters."""

import os
from dataclasses import dataclass
from functools import partial

from . import ceiling, disks, measure
from .backup import Backup
from .cases import STAMPS, Case, checked, race
from .contenders import RingMirror
from .dirty import CLUSTER, Dirty
from .disks import show_size

# Name: share of the image that is dirty, and how it lies there.
CASES = {
    "random-1": (0.01, "random"), "random-10": (0.1, "random"), "random-50": (0.5, "random"), "clumped-10": (0.1, "clumped"),
}
NAMES = ("ringmirror", "fio", "qemu", "qemu best")

# QEMU's best, found by `incremental.py --sweep-qemu --size 1G --cases random-10,random-50`, the leaders once more at 2 GiB and
# in clumps too (QEMU 7.2, two cores, virtio disk, ext4). Direct I/O and asynchronous AIO, which are not the defaults, are
# what matters: a quarter of the CPU. io_uring and native are within each other's noise, threads are slower. io_uring with
# 16 workers was among the first two in each case at 2 GiB; more workers took more memory and no less time, and a limit on
# chunks gained nothing: QEMU has one of 1 MiB.
BEST_OPTIONS = {"aio": "io_uring", "cache": {"direct": True}}
BEST_PERFORMANCE = {"max-workers": 16, "max-chunk": 0, "use-copy-range": False}


@dataclass
class Job:
    """What is to be copied, and the files that say so. Written before any clock starts."""

    dirty: Dirty
    ranges: str
    qcow2: str
    rest: float

    @classmethod
    def write(cls, dirty, workspace, rest):
        job = cls(dirty, workspace.file("changed.ranges"), workspace.file("changed.qcow2"), rest)
        dirty.write_ranges(job.ranges)
        dirty.write_qcow2(job.qcow2)
        return job


class Incremental(RingMirror):
    """Measured by its own report, as QEMU's job is by the daemon's events; what exec and the guards cost is told beside it."""

    def run(self, source, target, job):
        # The pages of a daemon's program stay in memory when the caches are dropped, because they are mapped. Ours are
        # brought back, or its first requests would wait for the code that makes them.
        with open(self.tool, "rb") as program:
            while program.read(1 << 20):
                pass
        measure.text_of([self.tool, "--version"])
        sample = super().run(source, target, job)
        sample.extra["exec_to_exit"] = {"wall": sample.wall, "cpu": sample.cpu}
        sample.wall, sample.cpu = sample.extra["seconds"], sample.extra["cpuSeconds"]
        return sample

    def argv(self, source, target, job):
        return [self.tool, "incremental", source, target, "--map", f"{job.ranges}:ranges", "--json"]

    def missing(self):
        why = super().missing()
        if not why and "--map" not in (measure.text_of([self.tool, "incremental", "--help"]) or ""):
            why = f"{os.path.relpath(self.tool)} has no command `incremental` with an option --map"
        return why


def qemu_settings():
    """What BEST_OPTIONS and BEST_PERFORMANCE were chosen from: `aio`, workers, longest chunk (0: as QEMU likes, 1 MiB)."""
    found = [Backup("as it comes"), Backup("direct", {"cache": {"direct": True}})]
    for aio in ("threads", "native", "io_uring"):
        for workers in (8, 16, 32, 64, 128, 256):
            for chunk in (0, CLUSTER):
                options = {"aio": aio, "cache": {"direct": True}}
                performance = {"max-workers": workers, "max-chunk": chunk, "use-copy-range": False}
                found.append(Backup(f"{aio} {workers} {show_size(chunk)}", options, performance))
    return found


def contenders(ringmirror):
    return [
        Incremental("ringmirror", ringmirror, peer=False),
        Backup("qemu"),
        Backup("qemu best", BEST_OPTIONS, BEST_PERFORMANCE),
    ]


def _untouched(target, source, witnesses):
    for cluster in witnesses:
        if disks.first_difference(source, target, [(cluster * CLUSTER, CLUSTER)]) is None:
            raise measure.Failed(f"exited with 0, but wrote the clean cluster at byte {cluster * CLUSTER} as well")


def _mend(target, source, witnesses):
    """The target is the mirror again that the next contender goes on from."""
    with open(source, "rb") as good, open(target, "r+b") as spoilt:
        for cluster in witnesses:
            good.seek(cluster * CLUSTER)
            spoilt.seek(cluster * CLUSTER)
            spoilt.write(good.read(CLUSTER))


def incremental_case(key, workspace, plan, source, target, say):
    """Everyone brings `target`, the last mirror of `source`, up to date."""
    dirty = Dirty(plan.size, *CASES[key], plan.seed)
    dice = plan.dice
    job = Job.write(dirty, workspace, plan.rest)
    how = "in clumps of 4 MiB" if dirty.pattern == "clumped" else "at random"
    title = f"{dirty.share:.0%} of {show_size(plan.size)} dirty {how}: {dirty.bytes / disks.MIB:.3g} MiB in {len(dirty.runs())} pieces"
    say(f"\nCase {key}: {title}")
    case = Case(key, title, dirty.bytes)
    case.details["dirty"] = dirty.as_json()
    rows = list(plan.contenders)
    if plan.fio:
        say("  fio, every longest request and depth once, replaying reads and writes at the same time:")
        make = partial(_replay, dirty, workspace)
        best, case.details["fio"] = ceiling.sweep(workspace, plan, source, target, say, dirty.bytes, make)
        say(f"  into the rounds go {' and '.join(fio.name for fio in best)}\n")
        case.details["fio"]["chosen"] = [fio.name for fio in best]
        rows += best

    def turn(contender, number):
        """Spoil what is dirty (all of it in the warm-up), and for QEMU some of what is clean, to see whether it writes that."""
        spoilt = dirty.runs()
        if number:
            few = dice.sample(dirty.clusters, min(STAMPS, len(dirty.clusters)))
            spoilt = [(cluster * CLUSTER, CLUSTER) for cluster in few]
        # ringmirror compares a sample of what is clean, and refuses a target that is no mirror there.
        few = 0 if isinstance(contender, Incremental) else STAMPS
        witnesses = dice.sample(dirty.clean, min(few, len(dirty.clean)))
        if isinstance(contender, ceiling.Fio):
            measure.quiesce(plan.rest)
            return contender.run(source, target)
        disks.write_random(target, spoilt + [(cluster * CLUSTER, CLUSTER) for cluster in witnesses])
        if not isinstance(contender, Backup):
            measure.quiesce(plan.rest)  # QEMU rests when its daemon is set up
        sample = contender.run(source, target, job)
        checked(source, target, spoilt)
        _untouched(target, source, witnesses)
        _mend(target, source, witnesses)
        if isinstance(contender, Incremental) and sample.extra["written"] > dirty.bytes:
            raise measure.Failed(f"wrote {sample.extra['written']} bytes, of which only {dirty.bytes} are dirty")
        return sample

    race(case, plan, rows, turn, say)
    return case


def _replay(dirty, workspace, _size, request, depth, huge):
    return ceiling.Replay(dirty, workspace, request, depth, huge)
