"""The three cases: files, loop devices, a sparse image. Each runs its contenders in turns, round by round."""

from . import ceiling, disks, measure
from .contenders import as_json
from .disks import MIB, show_size
from .table import seconds

STAMPS = 16  # blocks of 1 MiB that are spoilt before and compared after each counted run


class Case:
    """The samples of one case: a list per row of the table, one sample per round."""

    def __init__(self, key, title, size):
        self.key, self.title, self.size = key, title, size
        self.samples = {}
        self.failed = {}
        self.details = {}

    def add(self, row, sample):
        self.samples.setdefault(row, []).append(sample)

    def fail(self, row, why, say):
        self.failed[row] = str(why)
        self.samples.pop(row, None)
        say(f"\n  {row} failed and is out of this case: {why}")

    def as_json(self):
        samples = {row: [as_json(sample) for sample in runs] for row, runs in self.samples.items()}
        return {"title": self.title, "size": self.size, "samples": samples, "failed": self.failed, **self.details}


def _turns(rounds, rows, dice, say):
    """Round 0 is the warm-up. Every round has an order of its own."""
    for number in range(rounds + 1):
        order = list(rows)
        dice.shuffle(order)
        say(f"  {'warm-up' if number == 0 else f'round {number}':8}", end="")
        yield number, order
        say("")


def checked(source, target, ranges):
    where = disks.first_difference(source, target, ranges)
    if where is not None:
        raise measure.Failed(f"exited with 0, but the target differs from the source near byte {where}")


def race(case, plan, rows, turn, say):
    """Everyone in turns, round by round. `turn(contender, number)` prepares, runs, checks and returns the sample.

    Who fails is out of the case. Round 0 is not counted.
    """
    for number, order in _turns(plan.rounds, rows, plan.dice, say):
        for contender in order:
            if contender.name in case.failed:
                continue
            try:
                sample = turn(contender, number)
            except measure.Failed as why:
                case.fail(contender.name, why, say)
                continue
            say(f"  {contender.name} {seconds(sample.wall)}s", end="")
            if number:
                case.add(contender.name, sample)


def copy_case(key, title, workspace, plan, source, targets, say):
    """Everyone copies `source` over the same, fully written target (`targets["rewrite"]`).

    Who truncates a target file before writing gets one of its own, `targets["truncate"]`,
    so that the blocks of the others stay where they are.
    """
    size, dice = plan.size, plan.dice
    case = Case(key, title, size)
    rows = list(plan.contenders)
    if plan.fio:
        say("  fio, every request size and depth once, reading and writing at the same time:")
        best, case.details["fio"] = ceiling.sweep(workspace, plan, source, targets["rewrite"], say)
        say(f"  into the rounds go {' and '.join(fio.name for fio in best)}\n")
        case.details["fio"]["chosen"] = [fio.name for fio in best]
        rows += best

    def turn(contender, number):
        target = targets["truncate" if contender.truncates else "rewrite"]
        is_fio = isinstance(contender, ceiling.Fio)
        stamps = sorted({0, size - MIB} | {dice.randrange(size // MIB) * MIB for _ in range(STAMPS - 2)})
        ranges = [(offset, MIB) for offset in stamps]
        if is_fio:
            pass  # it writes what it likes
        elif number == 0:
            disks.fill(target, size)
            ranges = [(0, size)]
        else:
            disks.write_random(target, ranges)
        measure.quiesce(plan.rest)
        sample = contender.run(source, target)
        if not is_fio:
            checked(source, target, ranges)
        return sample

    race(case, plan, rows, turn, say)
    return case


def _allocated(*paths):
    """All data of all these files, as sorted 1 MiB pieces at most."""
    pieces = set()
    for path in paths:
        for start, length in disks.data_ranges(path):
            for offset in range(start, start + length, MIB):
                pieces.add((offset, min(MIB, start + length - offset)))
    return sorted(pieces)


class SparsePlan:
    """A sparse image, an image that is its data alone, and targets for both."""

    PIECES = 64

    def __init__(self, workspace, size):
        self.data, self.image = size // 4, size * 16
        self.piece = self.data // self.PIECES
        self.stride = self.image // self.PIECES
        self.workspace = workspace
        self.sources = {"sparse": workspace.file("sparse.img"), "dense": workspace.file("dense.img")}
        self.targets = {shape: workspace.file(f"{shape}-target.img") for shape in self.sources}
        # Somewhere in its stride each: neither evenly spaced nor all aligned to a MiB.
        self.pieces = [(i * self.stride + (i * 7919 * 4096) % (self.stride // 2), self.piece) for i in range(self.PIECES)]
        disks.write_random(self.sources["sparse"], self.pieces, size=self.image)
        disks.write_random(self.sources["dense"], [(0, self.data)], size=self.data)

    def prepare(self, shape, job):
        """`create`: no target. `existing`: a target of the right size with garbage where the source has a hole."""
        self.workspace.remove(f"{shape}-target.img")
        if job == "existing" and shape == "sparse":
            garbage = [(start + self.stride // 2, length) for start, length in self.pieces]
            disks.write_random(self.targets[shape], garbage, size=self.image)
        elif job == "existing":
            disks.fill(self.targets[shape], self.data)


def sparse_case(workspace, plan, say):
    """A sparse image against its data alone. The two copies of a pair run one after the other."""
    setup = SparsePlan(workspace, plan.size)
    title = f"sparse image of {show_size(setup.image)} with {show_size(setup.data)} of data in 64 pieces"
    case = Case("sparse", title, setup.data)
    rows = []
    for contender in plan.contenders:
        if contender.scales_to_sparse:
            rows.append((contender, "create"))
            if not contender.peer:
                rows.append((contender, "existing"))
    for number, order in _turns(plan.rounds, rows, plan.dice, say):
        for contender, job in order:
            row = f"{contender.name} {'new' if job == 'create' else 'existing'}"
            if row in case.failed:
                continue
            pair, shapes = {}, ["sparse", "dense"]
            plan.dice.shuffle(shapes)
            try:
                for shape in shapes:
                    source, target = setup.sources[shape], setup.targets[shape]
                    setup.prepare(shape, job)
                    measure.quiesce(plan.rest)
                    pair[shape] = contender.run(source, target, job)
                    ranges = _allocated(source, target)
                    if number:
                        ranges = plan.dice.sample(ranges, min(2 * STAMPS, len(ranges)))
                    checked(source, target, sorted(ranges))
            except (measure.Failed, OSError) as why:
                case.fail(row, why, say)
                continue
            say(f"  {row} {pair['sparse'].wall:.2f}/{pair['dense'].wall:.2f}s", end="")
            if number:
                for shape in pair:
                    case.add(f"{row} {shape}", pair[shape])
    for name in ("sparse.img", "dense.img", "sparse-target.img", "dense-target.img"):
        workspace.remove(name)
    return case
