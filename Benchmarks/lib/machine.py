"""What a figure is worth depends on where it was taken: kernel, processor, disk, tools."""

import os
import platform
import subprocess

from . import measure


def _first(path, default=None):
    try:
        with open(path) as file:
            return file.readline().strip()
    except OSError:
        return default


def _processor():
    with open("/proc/cpuinfo") as info:
        for line in info:
            if line.lower().startswith(("model name", "hardware")):
                return line.split(":", 1)[1].strip()
    return platform.machine()


def _memory():
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") >> 20


def _disk(source):
    """The disk under a filesystem, as far as sysfs names it."""
    name = os.path.basename(os.path.realpath(source)) if source.startswith("/dev/") else ""
    queue = f"/sys/class/block/{name}/queue"
    if not name or not os.path.isdir(queue):
        queue = f"/sys/class/block/{name}/../queue"
    if not name or not os.path.isdir(queue):
        return {}
    keys = ("scheduler", "max_segments", "max_sectors_kb", "rotational", "logical_block_size", "write_cache")
    return {key: _first(os.path.join(queue, key)) for key in keys}


def facts(home, plan, root):
    versions = {contender.name: contender.version_line() for contender in plan.contenders}
    if plan.fio:
        versions["fio"] = measure.first_line(["fio", "--version"])
    commit = subprocess.run(["git", "-C", root, "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    return {
        "kernel": platform.release(),
        "processor": _processor(),
        "cpus": len(os.sched_getaffinity(0)),
        "memory_mib": _memory(),
        "load_before": _first("/proc/loadavg", "").split()[:3],
        "filesystem": home["fstype"],
        "mount_options": home["options"],
        "disk": _disk(home.get("source") or ""),
        "transparent_hugepage": _first("/sys/kernel/mm/transparent_hugepage/enabled"),
        "commit": commit.stdout.strip() or None,
        "versions": versions,
    }


def lines(found, plan):
    yield (
        f"Linux {found['kernel']}, {found['cpus']} x {found['processor']}, {found['memory_mib']} MiB, "
        f"{found['filesystem']}, load {' '.join(found['load_before'])}"
    )
    said = set()
    for name, version in found["versions"].items():
        if not version or version not in said:  # two settings of one tool need one line
            yield f"  {name:<12}{version or 'version unknown'}"
        said.add(version)
    for name, why in plan.skipped.items():
        yield f"  {name:<12}skipped: {why}"
    yield f"{plan.rounds} rounds after one warm-up, order by seed {plan.seed}"
