"""qcow2 images: how they are made, who copies from and into them, and the cases that race them."""

import json
import os
import subprocess
from dataclasses import dataclass

from . import disks, measure
from .cases import STAMPS, Case, checked, race
from .contenders import QemuImg, RingMirror
from .disks import MIB, show_size

CASES = ("read", "new", "existing", "compressed", "map")
NAMES = ("ringmirror", "qemu-img")
CLUSTER = 64 << 10
SPARSENESS = 256  # the image of the case `map` is that many times --size: 1 TiB


def tool(*argv, stdin=None):
    """Run one of QEMU's tools to prepare or to check something; return what it says."""
    done = subprocess.run(argv, input=stdin, capture_output=True, text=True)
    if done.returncode:
        raise measure.Failed(f"{' '.join(argv[:2])}: {(done.stderr or done.stdout).strip()[-300:]}")
    return done.stdout


@dataclass
class Job:
    formats: tuple  # of source and target
    is_new: bool  # the target does not exist


class ImageMirror(RingMirror):
    def argv(self, source, target, job):
        return [self.tool, "full", source, target, "--create" if job.is_new else "--overwrite", "--json"]

    def missing(self):
        why = super().missing()
        if not why and "--target-format" not in (measure.text_of([self.tool, "full", "--help"]) or ""):
            why = f"{os.path.relpath(self.tool)} has no qcow2 images"
        return why

    def resolve(self, image):
        """The command that works out what of an image is to be copied, and nothing else."""
        return [self.tool, "measure", image, "--json"]


class ImageConvert(QemuImg):
    def argv(self, source, target, job):
        reuse = [] if job.is_new else ["-n"]
        formats = ["-f", job.formats[0], "-O", job.formats[1]]
        return [self.tool, "convert", *reuse, "-W", "-m", "16", "-t", "none", "-T", "none", *formats, source, target]

    def resolve(self, image):
        return [self.tool, "map", "--output=json", "-f", "qcow2", image]


def contenders(ringmirror):
    return [ImageMirror("ringmirror", ringmirror, peer=False), ImageConvert("qemu-img", "qemu-img")]


class ImageMap:
    """Where the bytes of an image lie in its file, as qemu-img tells it."""

    def __init__(self, image):
        self.image = image
        stretches = json.loads(tool("qemu-img", "map", "--output=json", "-f", "qcow2", image))
        self.stretches = [entry for entry in stretches if "offset" in entry]

    def expect(self, source, ranges):
        """Fail unless the image has what the raw file `source` has, read past the page cache."""
        fds = [os.open(path, os.O_RDONLY) for path in (source, self.image)]
        try:
            for fd in fds:
                os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            for offset, length in ranges:
                if os.pread(fds[0], length, offset) != self._read(fds[1], offset, length):
                    raise measure.Failed(f"exited with 0, but the image differs from the source near byte {offset}")
        finally:
            for fd in fds:
                os.close(fd)

    def _read(self, fd, offset, length):
        found = bytearray(length)
        for entry in self.stretches:
            start, end = max(entry["start"], offset), min(entry["start"] + entry["length"], offset + length)
            if start < end:
                found[start - offset : end - offset] = os.pread(fd, end - start, entry["offset"] + start - entry["start"])
        return bytes(found)


def _stamps(plan, size):
    """Blocks of 1 MiB, the first and the last among them."""
    drawn = {plan.dice.randrange(size // MIB) * MIB for _ in range(STAMPS - 2)}
    return [(offset, MIB) for offset in sorted(drawn | {0, size - MIB})]


def read_case(key, title, size, plan, image, source, target, say):
    """Everyone copies the image over the same raw file, which is fully written. `source` is what the image reads as."""
    case = Case(key, title, size)
    job = Job(("qcow2", "raw"), is_new=False)

    def turn(contender, number):
        ranges = _stamps(plan, size)
        if number == 0:
            disks.fill(target, size)
            ranges = [(0, size)]
        else:
            disks.write_random(target, ranges)
        measure.quiesce(plan.rest)
        sample = contender.run(image, target, job)
        checked(source, target, ranges)
        return sample

    race(case, plan, plan.contenders, turn, say)
    return case


def write_case(key, title, workspace, plan, source, say):
    """Everyone copies the raw file into an image that is new, or that was just made with all of its clusters allocated."""
    size = plan.size
    case = Case(key, title, size)
    job = Job(("raw", "qcow2"), is_new=key == "new")
    target = workspace.file("target.qcow2")

    def turn(contender, number):
        workspace.remove("target.qcow2")
        if not job.is_new:
            tool("qemu-img", "create", "-q", "-f", "qcow2", "-o", "preallocation=metadata", target, str(size))
        measure.quiesce(plan.rest)
        sample = contender.run(source, target, job)
        tool("qemu-img", "check", "-q", "-f", "qcow2", target)
        if number == 0:
            tool("qemu-img", "compare", "-q", "-f", "raw", "-F", "qcow2", source, target)
        ImageMap(target).expect(source, _stamps(plan, size))
        return sample

    race(case, plan, plan.contenders, turn, say)
    workspace.remove("target.qcow2")
    return case


def _write_compressible(path, size):
    """Bytes that shrink to about half: hexadecimal digits."""
    with open(path, "wb") as file:
        for _ in range(size // MIB):
            file.write(os.urandom(MIB // 2).hex().encode())
        file.flush()
        os.fsync(file.fileno())


def compressed_case(workspace, plan, say):
    size = plan.size // 4
    source, image, target = (workspace.file(name) for name in ("text.img", "text.qcow2", "text-target.img"))
    say(f"\nCase compressed: writing {show_size(size)} and compressing it ...")
    _write_compressible(source, size)
    tool("qemu-img", "convert", "-c", "-W", "-m", "16", "-f", "raw", "-O", "qcow2", source, image)
    title = f"qcow2 image of {show_size(size)}, all of it compressed by zlib, to raw file"
    case = read_case("compressed", title, size, plan, image, source, target, say)
    for path in (source, image, target):
        workspace.remove(os.path.basename(path))
    return case


def map_case(workspace, plan, say):
    """How long it takes to work out what is to be copied of a large image with little in it, from a cold disk."""
    size, count = plan.size * SPARSENESS, plan.size // 4 // CLUSTER
    image = workspace.file("scattered.qcow2")
    clusters = plan.dice.sample(range(size // CLUSTER), count)
    data = show_size(count * CLUSTER)
    say(f"\nCase map: writing {data} in {count} clusters of a {show_size(size)} image ...")
    tool("qemu-img", "create", "-q", "-f", "qcow2", "-o", f"cluster_size={CLUSTER}", image, str(size))
    writes = "".join(f"write -q -P {1 + number % 255} {cluster * CLUSTER} {CLUSTER}\n" for number, cluster in enumerate(clusters))
    tool("qemu-io", "-f", "qcow2", image, stdin=writes)
    case = Case("map", f"what is in a {show_size(size)} qcow2 image: {data} in {count} scattered clusters", count * CLUSTER)
    wanted = {cluster * CLUSTER for cluster in clusters}

    def turn(contender, _number):
        measure.quiesce(plan.rest)
        sample, text = measure.run(contender.resolve(image))
        if contender.peer:
            found = sum(entry["length"] for entry in json.loads(text) if entry["data"])
        else:
            sample.extra = contender.report(text)
            found = sample.extra.get("dataBytes")
        if found != len(wanted) * CLUSTER:
            raise measure.Failed(f"exited with 0, and found {found} bytes of {len(wanted) * CLUSTER}")
        return sample

    race(case, plan, plan.contenders, turn, say)
    workspace.remove("scattered.qcow2")
    return case
