"""QEMU's incremental backup job, in a daemon that is up and has its bitmap before the clock starts."""

from dataclasses import dataclass, field

from . import daemon, measure
from .dirty import BITMAP, CLUSTER


@dataclass
class Backup:
    """`blockdev-backup sync=incremental` with the named bitmap of a raw source, onto a raw target."""

    name: str
    options: dict = field(default_factory=dict)  # of the two file nodes
    performance: dict = field(default_factory=dict)  # x-perf of the job
    peer: bool = True

    def missing(self):
        return daemon.missing()

    def version_line(self):
        return measure.first_line([daemon.PROGRAM, "--version"])

    def run(self, source, target, job):
        """Copy what `job`, an increments.Job, says is dirty, after a rest of its own when all is set up."""
        with daemon.Daemon() as qemu:
            qemu.add_file("source", source, readonly=True, **self.options)
            qemu.add_file("target", target, **self.options)
            qemu.add_file("bits", job.qcow2, driver="qcow2", readonly=True)
            qemu.ask("block-dirty-bitmap-add", node="source", name=BITMAP, granularity=CLUSTER)
            origin = [{"node": "bits", "name": BITMAP}]
            qemu.ask("block-dirty-bitmap-merge", node="source", target=BITMAP, bitmaps=origin)
            counted = qemu.dirty_bytes("source", BITMAP)
            if counted != job.dirty.bytes:
                raise measure.Failed(f"QEMU's bitmap has {counted} dirty bytes, not {job.dirty.bytes}")
            performance = {"x_perf": self.performance} if self.performance else {}

            def work():
                qemu.ask(
                    "blockdev-backup", job_id="copy", device="source", target="target", sync="incremental", bitmap=BITMAP,
                    **performance,
                )
                qemu.wait_for_job("copy")

            measure.quiesce(job.rest)
            sample = measure.during(qemu.pid, work, flush=target)
        sample.extra = {"dirty_bytes": counted}
        return sample
