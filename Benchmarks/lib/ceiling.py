"""fio as the ceiling: one job reads the source while another writes the target.

For full mirrors both go through all of it in order; for incremental ones both replay the same list of dirty pieces.
"""

import json

from . import measure
from .disks import MIB, show_size


class Fio:
    """fio with one request size and depth. It moves as many bytes as a copy does, but no byte from one to the other."""

    peer = False
    truncates = False
    flushes = True  # by itself, within its own run time

    def __init__(self, size, request, depth, huge):
        self.size, self.request, self.depth, self.huge = size, request, depth, huge
        self.name = f"fio {show_size(request)} x{depth}"

    @property
    def buffers(self):
        """Bytes of buffers of both jobs."""
        return 2 * self.request * self.depth

    def argv(self, source, target):
        memory = ["--mem=mmaphuge", "--hugepage-size=2M"] if self.huge else ["--mem=mmap", "--iomem_align=2M"]
        common = [
            "--ioengine=io_uring", "--direct=1", "--fixedbufs=1", "--thread",
            f"--bs={self.request}", f"--iodepth={self.depth}", *memory, "--output-format=json",
        ]
        reading = ["--name=read", *self.side("read", source)]
        writing = ["--name=write", *self.side("write", target)]
        return ["fio", *common, *reading, *writing]

    def side(self, action, path):
        """What one of the two jobs does: all of `path` in order."""
        end = ["--end_fsync=1"] if action == "write" else []
        return ["--registerfiles=1", f"--rw={action}", f"--filename={path}", f"--size={self.size}", *end]

    def run(self, source, target, job="rewrite"):
        """Its own start-up is not its fault: the clock is the longer job's run time, with the flush at its end."""
        sample, text = measure.run(self.argv(source, target), flush=None if self.flushes else target)
        report = json.loads(text[text.index("{"):])
        times = {}
        for part in report["jobs"]:
            if part.get("error"):
                raise measure.Failed(f"fio job {part['jobname']}: error {part['error']}")
            side = part[part["jobname"]]
            if side["io_bytes"] != self.size:
                raise measure.Failed(f"fio job {part['jobname']} moved {side['io_bytes']} of {self.size} bytes")
            times[part["jobname"]] = side["runtime"] / 1000
        sample.extra = {"process_wall": sample.wall, "jobs": times}
        sample.wall = max(max(times.values()), 0.001) + sample.flush
        return sample


class Replay(Fio):
    """fio with the dirty pieces of an incremental mirror, neighbours as one request of up to `request` bytes.

    Three things are different in a replay (fio 3.33). It can't register its files. It
    forgets what is in flight when its list ends, unless `io_size` ends it first. And it
    does not wait for its fsync, so it is flushed from outside.
    """

    flushes = False

    def __init__(self, dirty, workspace, request, depth, huge):
        super().__init__(dirty.bytes, request, depth, huge)
        self.dirty, self.workspace = dirty, workspace

    def side(self, action, path):
        log = self.workspace.file(f"{action}-{self.request}.iolog")
        self.dirty.write_replay(log, path, action, self.request)
        return [f"--read_iolog={log}", f"--io_size={self.size}"]


def sweep(workspace, plan, source, target, say, size=None, make=Fio):
    """Try every request size and depth once; the two best, and all that was seen.

    `size` bytes are moved by each `make(size, request, depth, huge)`. Whether the buffers
    truly were huge pages is read from the kernel while fio runs.
    """
    requests, depths = plan.fio_sizes, plan.fio_depths
    size = size or plan.size
    largest = 2 * max(requests) * max(depths) + 8 * MIB
    huge = workspace.reserve_huge_pages(largest)
    if not huge:
        say("  no hugetlbfs pages to be had: fio runs on 4 KiB pages, and its ceiling is lower than it could be")
    seen, shares = [], []
    for request in requests:
        for depth in depths:
            if request > size:
                continue
            fio = make(size, request, depth, huge)
            measure.quiesce(plan.rest)
            sample = fio.run(source, target)
            seen.append((sample.wall, fio))
            if huge and sample.hugetlb:
                shares.append(sample.hugetlb * MIB / fio.buffers)
    say(f"  {'request':>8}  " + "".join(f"{'x' + str(depth):>8}" for depth in depths) + "   MiB/s")
    for request in requests:
        row = {fio.depth: wall for wall, fio in seen if fio.request == request}
        if row:
            say(f"  {show_size(request):>8}  " + "".join(f"{size / MIB / row[depth]:8.0f}" for depth in depths))
    if shares:
        say(f"  the kernel counted hugetlbfs pages for {max(shares):.0%} of fio's buffers")
    elif huge:
        say("  fio's runs were too short to see its huge pages")
    best = [fio for _, fio in sorted(seen, key=lambda pair: pair[0])][:2]
    table = [{"request": fio.request, "depth": fio.depth, "wall": wall} for wall, fio in seen]
    return best, {"sweep": table, "huge": huge, "huge_seen": round(max(shares), 3) if shares else None}
