"""What the contenders work on: files, loop devices, huge pages. All of it is given back."""

import json
import mmap
import os
import shutil
import subprocess
import tempfile

from .measure import Failed, drop_caches

MIB = 1 << 20
HUGE_PAGES = "/proc/sys/vm/nr_hugepages"


def parse_size(text):
    """`64M`, `1.5G`, or plain bytes."""
    units = {"K": 10, "M": 20, "G": 30, "T": 40}
    text = text.strip().upper().removesuffix("IB").removesuffix("B")
    shift = units.get(text[-1:], 0)
    return int(float(text[:-1] if shift else text) * (1 << shift))


def show_size(count):
    for shift, unit in ((40, "T"), (30, "G"), (20, "M"), (10, "K")):
        if count >= 1 << shift and count % (1 << shift) == 0:
            return f"{count >> shift}{unit}"
    return str(count)


def filesystem(path):
    """Type, mount options and device of the filesystem that holds `path`."""
    try:
        found = subprocess.run(
            ["findmnt", "--json", "-no", "FSTYPE,OPTIONS,SOURCE", "-T", path], capture_output=True, text=True
        )
        return json.loads(found.stdout)["filesystems"][0]
    except (OSError, ValueError, KeyError, IndexError):
        return {"fstype": "unknown", "options": "", "source": ""}


class Workspace:
    """A directory of our own and all that hangs on it. Use as a context manager."""

    def __init__(self, parent):
        self.parent = parent
        self.path = None
        self.loops = {}  # node -> backing file
        self.pages_before = None

    def __enter__(self):
        os.makedirs(self.parent, exist_ok=True)
        self.path = tempfile.mkdtemp(prefix="ringmirror-bench-", dir=self.parent)
        return self

    def __exit__(self, *_):
        for node in list(self.loops):
            self.detach(node)
        self.release_huge_pages()
        if self.path:
            shutil.rmtree(self.path, ignore_errors=True)

    def file(self, name):
        return os.path.join(self.path, name)

    def remove(self, name):
        """Remove a file and let the filesystem finish with it (a discard may follow) before a clock starts."""
        try:
            os.unlink(self.file(name))
        except FileNotFoundError:
            return
        os.sync()

    # Loop devices

    def attach(self, path, readonly=False):
        """A new loop device over one of our files, its I/O direct."""
        command = ["losetup", "--find", "--show", "--direct-io=on"] + (["--read-only"] if readonly else []) + [path]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise Failed(f"losetup: {done.stderr.strip()}")
        node = done.stdout.strip()
        self.loops[node] = path
        with open(f"/sys/block/{os.path.basename(node)}/loop/dio") as dio:
            if dio.read().strip() != "1":
                raise Failed(f"{node}: the kernel refused direct I/O on this filesystem")
        return node

    def detach(self, node):
        """Detach a loop device, if it is still the one that we attached."""
        path = self.loops.pop(node)
        try:
            with open(f"/sys/block/{os.path.basename(node)}/loop/backing_file") as backing:
                ours = backing.read().strip() == os.path.realpath(path)
        except OSError:
            return
        if ours:
            subprocess.run(["losetup", "--detach", node], capture_output=True)

    # Huge pages

    def reserve_huge_pages(self, size):
        """Reserve 2 MiB pages for `size` bytes; False if they can't be had."""
        if not os.path.exists(HUGE_PAGES):
            return False
        need = -(-size // (2 * MIB))
        free = _meminfo("HugePages_Free")
        if free >= need:
            return True
        with open(HUGE_PAGES) as knob:
            now = int(knob.read())
        if self.pages_before is None:
            self.pages_before = now
        drop_caches()
        try:
            with open("/proc/sys/vm/compact_memory", "w") as knob:
                knob.write("1\n")
        except OSError:
            pass
        with open(HUGE_PAGES, "w") as knob:
            knob.write(f"{now + need - free}\n")
        return _meminfo("HugePages_Free") >= need

    def release_huge_pages(self):
        if self.pages_before is not None:
            with open(HUGE_PAGES, "w") as knob:
                knob.write(f"{self.pages_before}\n")
            self.pages_before = None


def _meminfo(name):
    with open("/proc/meminfo") as info:
        for line in info:
            if line.startswith(name + ":"):
                return int(line.split()[1])
    return 0


# Contents

_piece = None


def _buffer():
    global _piece
    if _piece is None:
        _piece = mmap.mmap(-1, 4 * MIB)  # page aligned, as O_DIRECT asks for
    return _piece


def write_random(path, ranges, size=None):
    """Write random bytes, fresh ones everywhere, at `ranges`. With `size`, the file is made anew and the rest is a hole."""
    fd = os.open(path, os.O_RDWR | os.O_DIRECT | (os.O_CREAT | os.O_TRUNC if size is not None else 0), 0o600)
    try:
        if size is not None:
            os.ftruncate(fd, size)
        view = memoryview(_buffer())
        for offset, length in ranges:
            end = offset + length
            while offset < end:
                count = min(len(view), end - offset)
                view[:count] = os.urandom(count)
                offset += os.pwritev(fd, [view[:count]], offset)
        os.fsync(fd)
    finally:
        os.close(fd)


def fill(path, size):
    """A target that has all its blocks allocated and written, with bytes the source does not have."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_DIRECT, 0o600)
    try:
        if not os.path.realpath(path).startswith("/dev/"):
            os.posix_fallocate(fd, 0, size)
        view = memoryview(_buffer())
        view[:] = os.urandom(len(view))
        for offset in range(0, size, len(view)):
            os.pwritev(fd, [view[: min(len(view), size - offset)]], offset)
        os.fsync(fd)
    finally:
        os.close(fd)


def first_difference(left, right, ranges):
    """The offset of the first chunk that differs within `ranges`, read past the page cache; None if none does."""
    fds = [os.open(path, os.O_RDONLY | os.O_DIRECT) for path in (left, right)]
    try:
        view = memoryview(_buffer())
        for offset, length in ranges:
            end = offset + length
            while offset < end:
                count = min(len(view), end - offset)
                chunks = []
                for fd in fds:
                    got = os.preadv(fd, [view[:count]], offset)
                    chunks.append(bytes(view[:got]))
                if len(chunks[0]) != count or chunks[0] != chunks[1]:
                    return offset
                offset += count
        return None
    finally:
        for fd in fds:
            os.close(fd)


def data_ranges(path):
    """Where a file has data, by SEEK_DATA and SEEK_HOLE."""
    ranges = []
    fd = os.open(path, os.O_RDONLY)
    try:
        end = 0
        while True:
            try:
                start = os.lseek(fd, end, os.SEEK_DATA)
            except OSError:  # ENXIO: no data from here on
                return ranges
            end = os.lseek(fd, start, os.SEEK_HOLE)
            ranges.append((start, end - start))
    finally:
        os.close(fd)
