"""Which clusters have changed since the last mirror: drawn by a seed, and written down in the form that each contender reads."""

import random
import struct

CLUSTER = 64 << 10
CLUMP = 64  # clusters, 4 MiB: what one large file, or one database segment, makes dirty at once
BITMAP = "changed"  # the name of the bitmap in the qcow2 file


class Dirty:
    """A set of dirty clusters of an image of `size` bytes: `share` of them, one by one or in clumps."""

    def __init__(self, size, share, pattern, seed):
        self.size, self.share, self.pattern = size, share, pattern
        dice = random.Random(f"{seed} {pattern} {share}")
        unit = CLUMP if pattern == "clumped" else 1
        places = size // (CLUSTER * unit)
        drawn = dice.sample(range(places), max(1, round(places * share)))
        self.clusters = sorted(first * unit + more for first in drawn for more in range(unit))
        self.bytes = len(self.clusters) * CLUSTER
        dirty = set(self.clusters)
        self.clean = [cluster for cluster in range(size // CLUSTER) if cluster not in dirty]

    def runs(self, longest=None):
        """Neighbouring clusters as one `(offset, length)`, cut to at most `longest` bytes; sorted."""
        found = []
        for cluster in self.clusters:
            offset = cluster * CLUSTER
            if found and sum(found[-1]) == offset and found[-1][1] + CLUSTER <= (longest or self.size):
                found[-1] = (found[-1][0], found[-1][1] + CLUSTER)
            else:
                found.append((offset, CLUSTER))
        return found

    def bits(self):
        """A bit per cluster, the least significant first."""
        bits = bytearray(-(-self.size // (CLUSTER * 8)))
        for cluster in self.clusters:
            bits[cluster // 8] |= 1 << cluster % 8
        return bytes(bits)

    def as_json(self):
        return {
            "pattern": self.pattern, "share": self.share, "clusters": len(self.clusters), "cluster": CLUSTER,
            "bytes": self.bytes, "runs": len(self.runs()),
        }

    # In the contenders' own forms

    def write_ranges(self, path):
        """`offset length` in bytes, a run a line: what ringmirror calls a map of ranges."""
        with open(path, "w") as file:
            file.writelines(f"{offset} {length}\n" for offset, length in self.runs())

    def write_replay(self, path, filename, action, longest):
        """fio's list of I/O to replay, version 2: all that is dirty in `filename`, in order, at most `longest` bytes a request."""
        with open(path, "w") as file:
            file.write(f"fio version 2 iolog\n{filename} add\n{filename} open\n")
            file.writelines(f"{filename} {action} {offset} {length}\n" for offset, length in self.runs(longest))

    def write_qcow2(self, path):
        """An empty qcow2 image of the same size with these bits as a persistent bitmap: how a bitmap reaches QEMU at once."""
        cluster, data = 1 << 16, self.bits()
        pieces = -(-len(data) // cluster)
        entries = -(-self.size // (cluster // 8 * cluster))  # of the L1 table
        name = BITMAP.encode()
        # In clusters: header, refcount table, refcount block, L1 table, bitmap directory, bitmap table, bitmap.
        refcounts, block, l1, directory, table, first = (number * cluster for number in range(1, 7))
        entry = struct.pack(">QIIBBHI", table, pieces, 0, 1, CLUSTER.bit_length() - 1, len(name), 0) + name
        entry += bytes(-len(entry) % 8)
        header = b"QFI\xfb" + struct.pack(">IQIIQIIQQIIQ", 3, 0, 0, 16, self.size, 0, entries, l1, refcounts, 1, 0, 0)
        header += struct.pack(">QQQII", 0, 0, 1, 4, 104)  # the autoclear bit 0 says that the bitmaps are to be trusted
        header += struct.pack(">IIIIQQ", 0x23852875, 24, 1, 0, len(entry), directory) + bytes(8)
        with open(path, "wb") as file:
            for offset, content in (
                (0, header), (refcounts, struct.pack(">Q", block)), (block, struct.pack(">H", 1) * (6 + pieces)),
                (l1, bytes(8 * entries)), (directory, entry),
                (table, b"".join(struct.pack(">Q", first + i * cluster) for i in range(pieces))), (first, data),
            ):
                file.seek(offset)
                file.write(content)
            file.truncate(first + pieces * cluster)
