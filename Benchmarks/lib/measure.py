"""Running one command and measuring it: wall clock, CPU seconds, peak memory."""

import os
import select
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass, field

POLLS_MS = [2, 5, 10, 20]  # how long to wait between looks at a process: first short, for short runs,
POLL_MS = 50  # then this


class Failed(Exception):
    """A contender did not do its job: it exited with an error, or copied wrongly."""


@dataclass
class Sample:
    """What one run of one contender cost."""

    wall: float = 0.0  # from exec until the target is flushed
    cpu: float = 0.0  # user + system, all threads and children
    peak: float = 0.0  # MiB, resident set and hugetlbfs pages
    hugetlb: float = 0.0  # MiB, the hugetlbfs share of `peak`
    flush: float = 0.0  # seconds of `wall` in the closing fdatasync of this harness
    machine_cpu: float = 0.0  # busy seconds of the whole machine meanwhile: kernel threads too, but also strangers
    extra: dict = field(default_factory=dict)


def machine_busy():
    """CPU seconds the machine has spent on anything but idling and waiting."""
    with open("/proc/stat") as stat:
        ticks = [int(x) for x in stat.readline().split()[1:9]]
    user, nice, system, _idle, _iowait, irq, softirq, _steal = ticks
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


def drop_caches():
    os.sync()
    with open("/proc/sys/vm/drop_caches", "w") as knob:
        knob.write("3\n")


def quiesce(seconds):
    """Leave the disk as nobody's run began: all written, nothing cached, deferred discards done."""
    drop_caches()
    time.sleep(seconds)


def _status(pid):
    """Peak resident set and hugetlbfs pages of a live process, in KiB."""
    peak = huge = 0
    try:
        with open(f"/proc/{pid}/status") as status:
            for line in status:
                if line.startswith("VmHWM:"):
                    peak = int(line.split()[1])
                elif line.startswith("HugetlbPages:"):
                    huge = int(line.split()[1])
    except (OSError, ProcessLookupError):
        pass
    return peak, huge


def _resident_self():
    with open("/proc/self/status") as status:
        for line in status:
            if line.startswith("VmHWM:"):
                return int(line.split()[1])
    return 0


def _read_all(fd):
    size = os.fstat(fd).st_size
    return os.pread(fd, size, 0).decode(errors="replace") if size else ""


def _flush(path):
    fd = os.open(path, os.O_WRONLY)
    try:
        os.fdatasync(fd)
    finally:
        os.close(fd)


def run(argv, flush=None):
    """Run `argv`; return its Sample and its standard output.

    The clock starts at exec and stops at exit, or, with `flush`, when that path
    has been flushed by fdatasync as well. Output goes to memory, so that a
    chatty tool writes nothing to the disk that is being measured.
    """
    program = shutil.which(argv[0]) or argv[0]
    out, err = os.memfd_create("stdout"), os.memfd_create("stderr")
    null = os.open(os.devnull, os.O_RDONLY)
    actions = [(os.POSIX_SPAWN_DUP2, null, 0), (os.POSIX_SPAWN_DUP2, out, 1), (os.POSIX_SPAWN_DUP2, err, 2)]
    pid = None
    sampled_peak = hugetlb = 0
    busy = machine_busy()
    start = time.perf_counter()
    try:
        pid = os.posix_spawn(
            program, argv, os.environ, file_actions=actions, setsigdef=[signal.SIGPIPE, signal.SIGINT]
        )
        watch = os.pidfd_open(pid)
        try:
            poll = select.poll()
            poll.register(watch, select.POLLIN)
            looks = iter(POLLS_MS)
            while not poll.poll(next(looks, POLL_MS)):
                peak, huge = _status(pid)
                sampled_peak, hugetlb = max(sampled_peak, peak), max(hugetlb, huge)
            _, status, usage = os.wait4(pid, 0)
            pid = None
        finally:
            os.close(watch)
        exited = time.perf_counter()
        if flush:
            _flush(flush)
        end = time.perf_counter()
        text, complaint = _read_all(out), _read_all(err)
    finally:
        if pid is not None:  # interrupted: leave no copy running behind our back
            os.kill(pid, signal.SIGTERM)
            os.wait4(pid, 0)
        for fd in (null, out, err):
            os.close(fd)
    code = os.waitstatus_to_exitcode(status)
    if code:
        said = (complaint or text).strip().splitlines()[-3:]
        raise Failed(f"exit status {code}: {' / '.join(said) or 'it said nothing'}")
    # ru_maxrss begins at the size of the process that called exec, which is us.
    # Above that floor it is exact; below it, what /proc said while it ran holds.
    resident = usage.ru_maxrss
    if resident <= _resident_self() and sampled_peak:
        resident = sampled_peak
    sample = Sample(
        wall=end - start,
        cpu=usage.ru_utime + usage.ru_stime,
        peak=(resident + hugetlb) / 1024,
        hugetlb=hugetlb / 1024,
        flush=end - exited,
        machine_cpu=machine_busy() - busy,
    )
    return sample, text


def _cpu_of(pid):
    """CPU seconds of a live process, its ended threads too: utime and stime of /proc/PID/stat, but in ns, not in ticks of 10 ms."""
    return time.clock_gettime(~pid << 3 | 2)  # the clock that clock_getcpuclockid(3) names, which Python lacks


def during(pid, work, flush):
    """What the live process `pid` spends while `work()`, which waits for it, runs: its Sample.

    The clock stops when the path `flush` has been flushed by fdatasync after that, as
    in `run`. The peak is the process as a whole: what it held before is counted.
    """
    with open(f"/proc/{pid}/clear_refs", "w") as reset:
        reset.write("5\n")  # VmHWM begins again at what is resident now
    busy, cpu = machine_busy(), _cpu_of(pid)
    start = time.perf_counter()
    work()
    done = time.perf_counter()
    _flush(flush)
    end = time.perf_counter()
    peak, huge = _status(pid)
    return Sample(
        wall=end - start,
        cpu=_cpu_of(pid) - cpu,
        peak=(peak + huge) / 1024,
        hugetlb=huge / 1024,
        flush=end - done,
        machine_cpu=machine_busy() - busy,
    )


def text_of(argv):
    """What a command that ends at once says, for example about its version; None if there is no such command."""
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout or done.stderr


def first_line(argv):
    """The first line a tool says about its version."""
    lines = (text_of(argv) or "").strip().splitlines()
    return lines[0] if lines else None
