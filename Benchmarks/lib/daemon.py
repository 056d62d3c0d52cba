"""qemu-storage-daemon, spoken to by QMP: the program that runs QEMU's block jobs without a guest."""

import json
import os
import shutil
import signal
import socket
import subprocess

from .measure import Failed

PROGRAM = "qemu-storage-daemon"
PATIENCE = 600  # seconds that an answer or the end of a job may take


def missing():
    return None if shutil.which(PROGRAM) else f"{PROGRAM} is not installed (Debian: qemu-system-common)"


class Daemon:
    """One daemon, its monitor a pair of sockets. Use as a context manager."""

    def __enter__(self):
        ours, theirs = socket.socketpair()
        with theirs:
            self.process = subprocess.Popen(
                [PROGRAM, "--chardev", f"socket,id=monitor,fd={theirs.fileno()}", "--monitor", "chardev=monitor"],
                pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            )
        self.events = []
        ours.settimeout(PATIENCE)
        self.stream = ours.makefile("rw")
        ours.close()  # the stream keeps it
        try:
            self._next()  # the greeting
            self.ask("qmp_capabilities")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        try:
            self.stream.close()
        except OSError:
            pass  # what it still held can't be sent to a daemon that is gone
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.process.stderr.close()

    @property
    def pid(self):
        return self.process.pid

    def _next(self):
        try:
            line = self.stream.readline()
        except TimeoutError:
            raise Failed(f"{PROGRAM} was silent for {PATIENCE} seconds") from None
        if not line:
            raise Failed(f"{PROGRAM} ended: {self.process.stderr.read().decode(errors='replace').strip() or 'it said nothing'}")
        return json.loads(line)

    def ask(self, command, **arguments):
        """Run a command; underscores in the names of arguments stand for dashes. Returns what it returns."""
        named = {name.replace("_", "-"): value for name, value in arguments.items()}
        self.stream.write(json.dumps({"execute": command, "arguments": named}) + "\n")
        self.stream.flush()
        while True:
            answer = self._next()
            if "event" in answer:
                self.events.append(answer)
            elif "error" in answer:
                raise Failed(f"{PROGRAM}: {command}: {answer['error']['desc']}")
            else:
                return answer["return"]

    def wait_for_job(self, job):
        """Wait until a block job is over; raise if it did not succeed."""
        while True:
            event = self.events.pop(0) if self.events else self._next()
            data = event.get("data", {})
            if data.get("device") != job:
                continue
            if event["event"] == "BLOCK_JOB_COMPLETED" and "error" not in data:
                return
            if event["event"] in ("BLOCK_JOB_COMPLETED", "BLOCK_JOB_CANCELLED"):
                raise Failed(f"{PROGRAM}: the job failed: {data.get('error', 'cancelled')}")
            if event["event"] == "BLOCK_JOB_ERROR":
                raise Failed(f"{PROGRAM}: the job met an error in a {data.get('operation')}")

    def add_file(self, node, path, driver="raw", readonly=False, **options):
        """A node of format `driver` over a file or a block device; `options` (aio, cache) are the file's."""
        protocol = "host_device" if os.path.realpath(path).startswith("/dev/") else "file"
        below = {"driver": protocol, "filename": path, **options}
        cache = {"cache": options["cache"]} if "cache" in options else {}
        self.ask("blockdev-add", node_name=node, driver=driver, read_only=readonly, file=below, **cache)

    def dirty_bytes(self, node, bitmap):
        """How much a bitmap of a node says is dirty."""
        for info in self.ask("query-named-block-nodes", flat=True):
            if info.get("node-name") == node:
                for found in info.get("dirty-bitmaps", []):
                    if found.get("name") == bitmap:
                        return found["count"]
        raise Failed(f"{PROGRAM}: node {node} has no bitmap {bitmap}")
