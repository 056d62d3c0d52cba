"""From samples to what people read: tables and goals."""

from dataclasses import dataclass
from statistics import median

from .disks import MIB

CEILING = "fio ceiling"


def paired(above, below):
    """The median of the ratios of each round: the disk's mood, which both had to bear, cancels out."""
    ratios = [a / b for a, b in zip(above, below) if b]
    return median(ratios) if ratios else None


def walls(case, row):
    """Wall seconds by round. The ceiling is the better of fio's two in each round."""
    if row == CEILING:
        runs = [walls(case, name) for name in case.samples if name.startswith("fio ")]
        return [min(times) for times in zip(*runs)] if runs else []
    return [sample.wall for sample in case.samples.get(row, [])]


def cpus(case, row):
    return [sample.cpu for sample in case.samples.get(row, [])]


def _cell(value, form, width):
    return f"{'-' if value is None else format(value, form):>{width}}"


def seconds(value):
    """Three digits, or milliseconds."""
    return f"{value:.{2 if value >= 1 else 3}f}"


HEAD = (
    f"  {'':<16}{'wall s':>8}{'min-max':>13}{'MiB/s':>8}{'of fio':>8}{'of ringm.':>10}"
    f"{'CPU s':>8}{'CPU x':>8}{'peak MiB':>10}"
)


def copy_table(case):
    """One row per contender, the fastest first. `CPU x` counts in ringmirror's CPU seconds."""
    lines = [HEAD]
    ceiling, ours, our_cpu = walls(case, CEILING), walls(case, "ringmirror"), cpus(case, "ringmirror")
    rows = sorted(case.samples, key=lambda row: median(walls(case, row)))
    for row in rows:
        times, cpu = walls(case, row), cpus(case, row)
        peak = max(sample.peak for sample in case.samples[row])
        lines.append(
            f"  {row:<16}{seconds(median(times)):>8}{f'{seconds(min(times))}-{seconds(max(times))}':>13}"
            f"{case.size / MIB / median(times):8.0f}"
            f"{_cell(paired(ceiling, times), '.2f', 8)}{_cell(paired(ours, times), '.2f', 10)}"
            f"{seconds(median(cpu)):>8}{_cell(paired(cpu, our_cpu), '.1f', 8)}{peak:10.0f}"
        )
    if ceiling:
        lines.append(
            f"  {CEILING:<16}{seconds(median(ceiling)):>8}{f'{seconds(min(ceiling))}-{seconds(max(ceiling))}':>13}"
            f"{case.size / MIB / median(ceiling):8.0f}{1:8.2f}{_cell(paired(ours, ceiling), '.2f', 10)}"
        )
    return lines + _processes(case) + _failures(case)


def _processes(case):
    """What a contender cost from exec to exit, where its clock is only that of its job."""
    lines = []
    for row, samples in case.samples.items():
        whole = [sample.extra["exec_to_exit"] for sample in samples if "exec_to_exit" in sample.extra]
        if whole:
            wall, cpu = (median(run[what] for run in whole) for what in ("wall", "cpu"))
            lines.append(f"  {row} from exec to exit: {seconds(wall)} s, CPU {seconds(cpu)} s")
    return lines


def sparse_table(case):
    lines = [f"  {'':<22}{'sparse s':>10}{'dense s':>10}{'ratio':>8}{'min-max':>13}{'CPU s':>8}{'peak MiB':>10}"]
    for row in [name.removesuffix(" sparse") for name in case.samples if name.endswith(" sparse")]:
        sparse, dense = walls(case, f"{row} sparse"), walls(case, f"{row} dense")
        ratios = [a / b for a, b in zip(sparse, dense)]
        peak = max(sample.peak for sample in case.samples[f"{row} sparse"])
        lines.append(
            f"  {row:<22}{median(sparse):10.2f}{median(dense):10.2f}{median(ratios):8.2f}"
            f"{f'{min(ratios):.2f}-{max(ratios):.2f}':>13}{median(cpus(case, f'{row} sparse')):8.2f}{peak:10.0f}"
        )
    return lines + _failures(case)


def _failures(case):
    return [f"  {row:<22} failed: {why}" for row, why in case.failed.items()]


@dataclass
class Goal:
    case: str
    what: str
    wanted: float
    at_least: bool
    value: float | None  # the median of the ratios of each round
    medians: float | None = None  # the ratio of the medians, for the record

    @property
    def met(self):
        if self.value is None:
            return None
        return self.value >= self.wanted if self.at_least else self.value <= self.wanted

    def line(self):
        verdict = {True: "met", False: "MISSED", None: "not measured"}[self.met]
        sign = ">=" if self.at_least else "<="
        return f"  {self.case:<12}{self.what:<52}{_cell(self.value, '.3g', 8)}  ({sign} {self.wanted:.3g})  {verdict}"

    def as_json(self):
        return {
            "case": self.case, "goal": self.what, "wanted": self.wanted, "at_least": self.at_least,
            "value": self.value, "ratio_of_medians": self.medians, "met": self.met,
        }


def _goal(case, what, wanted, at_least, above, below):
    medians = median(above) / median(below) if above and below else None
    return Goal(case.key, what, wanted, at_least, paired(above, below), medians)


def goals(cases, peers):
    """Each figure that the project has promised, and what came out."""
    found = []
    for case in cases:
        if case.key == "sparse":
            for row, words in (("ringmirror new", "a new target"), ("ringmirror existing", "an existing target")):
                above, below = walls(case, f"{row} sparse"), walls(case, f"{row} dense")
                found.append(_goal(case, f"time against its data alone, {words}", 1.1, False, above, below))
            continue
        ours, our_cpu = walls(case, "ringmirror"), cpus(case, "ringmirror")
        running = [peer for peer in peers if case.samples.get(peer)]
        best = min(running, key=lambda peer: median(walls(case, peer)), default=None)
        found += [
            _goal(case, "throughput against fio's ceiling", 0.97, True, walls(case, CEILING), ours),
            _goal(case, f"throughput against the best peer ({best})", 1.2, True, walls(case, best), ours),
            _goal(case, "throughput against dd", 2.3, True, walls(case, "dd"), ours),
            _goal(case, "CPU seconds against qemu-img's", 1 / 3, False, our_cpu, cpus(case, "qemu-img")),
        ]
        peaks = [sample.peak for sample in case.samples.get("ringmirror", [])]
        found.append(Goal(case.key, "peak memory, MiB", 96, False, max(peaks) if peaks else None))
    return found


def incremental_goals(cases):
    """What the project has promised for incremental mirrors, and what came out."""
    found = []
    for case in cases:
        ours, our_cpu = walls(case, "ringmirror"), cpus(case, "ringmirror")
        found += [
            _goal(case, "throughput against fio's ceiling", 0.95, True, walls(case, CEILING), ours),
            _goal(case, "throughput against QEMU as it comes", 2.2, True, walls(case, "qemu"), ours),
            _goal(case, "throughput against QEMU at its best", 1.3, True, walls(case, "qemu best"), ours),
            _goal(case, "CPU seconds against QEMU's at its best", 0.5, False, our_cpu, cpus(case, "qemu best")),
        ]
    return found


def image_goals(cases):
    """What the project has promised for qcow2 images, and what came out."""
    found = []
    for case in cases:
        ours = walls(case, "ringmirror")
        if case.key == "map":
            found.append(Goal(case.key, "seconds until the map is resolved", 1, False, median(ours) if ours else None))
        elif case.key != "compressed":
            found += [
                _goal(case, "throughput against qemu-img", 1.3, True, walls(case, "qemu-img"), ours),
                _goal(case, "CPU seconds against qemu-img's", 0.5, False, cpus(case, "ringmirror"), cpus(case, "qemu-img")),
            ]
    return found
