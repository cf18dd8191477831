"""The rows: what is measured against what, and which ratio must be reached."""

from collections.abc import Callable
from functools import partial
from typing import Literal, NamedTuple, get_args

from benchmarks import cases, similar
from benchmarks.cases import Case, Sizes
from fmlib.similarity import Pairs

Unit = Literal["wall time", "peak memory"]


class Spec(NamedTuple):
    """A row before it is measured; its ratio must be at most `wanted`, `stretch` is hoped for."""

    name: str
    against: str
    case: Callable[[Sizes], Case]
    wanted: float | None
    stretch: float | None = None
    bound: str = ""
    pairs: int = 7
    unit: Unit = "wall time"
    in_short: bool = True

    @property
    def bound_text(self) -> str:
        """What must be reached, in words where the ratio itself does not say it."""
        if self.bound or self.wanted is None:
            return self.bound or "reported"
        hoped = "" if self.stretch is None else f" ({self.stretch:.2f})"
        return f"≤ {self.wanted:.2f}{hoped}"


MINUTES = 3
"""Pairs of the rows that take minutes."""
TOP_MEMORY = 64_000_000
"""Bytes within which the strongest activations of all maps are found."""
PLAIN = "plain epoch, batch 4096, float32"

SPECS = (
    *(
        Spec(
            f"plain epoch, batch {batch}, float32",
            "the usual tutorial loop (DataLoader, `ToTensor`, `Normalize` per image)",
            partial(cases.tutorial, batch),
            wanted=0.40,
        )
        for batch in (64, 512)
    ),
    Spec(
        "plain epoch, batch 4096",
        "the tutorial's loop on tensors in memory, whole batches, PyTorch's default layout",
        partial(cases.in_memory, 4096),
        wanted=0.45,
    ),
    Spec(
        "plain epoch, batch 4096, floor",
        "its arithmetic at the measured rate of a matrix product",
        partial(cases.arithmetic_floor, 4096),
        wanted=1.8,
        stretch=1.5,
    ),
    *(
        Spec(
            f"float64 epoch, batch {batch}",
            "float32 epoch",
            partial(cases.double_precision, batch),
            wanted=3.5,
            stretch=2.5,
        )
        for batch in (64, 4096)
    ),
    *(
        Spec(f"scoring, {name}", PLAIN, partial(cases.scoring, way, 4096), wanted=wanted)
        for name, way, wanted in (
            ("by convolution", "convolution", 0.17),
            ("from patch statistics", "patches", 0.08),
        )
    ),
    *(
        Spec(
            f"{name}, a third skipped",
            PLAIN,
            partial(cases.reading, way, 4096),
            wanted=wanted,
            stretch=stretch,
        )
        for name, way, wanted, stretch in (
            ("released reading", "released", 0.95, 0.90),
            ("one-pass reading", "one pass", 0.86, 0.78),
            ("remembered reading", "remembered", 0.80, 0.72),
        )
    ),
    Spec(
        "cached run, authors' settings",
        "plain run",
        cases.authors_settings,
        wanted=None,
        pairs=MINUTES,
    ),
    Spec(
        "feature vectors, against NumPy",
        "NumPy, map by map",
        partial(cases.vectors, "numpy"),
        wanted=1 / 20,
        bound="≥ 20× faster",
    ),
    Spec(
        "feature vectors, against PyTorch",
        "`torch.std` and `torch.mean`",
        partial(cases.vectors, "torch"),
        wanted=1 / 3,
        bound="≥ 3× faster",
    ),
    Spec("FGSM, 10,000 images", "captum's FGSM, batched", cases.fgsm, wanted=1.05),
    Spec("occlusion of an image", "captum's Occlusion, batched", cases.occluded, wanted=1.0),
    Spec(
        "ascent of 16 units in one batch, float64",
        "the same one by one",
        partial(cases.ascents, 16),
        wanted=0.4,
    ),
    *(
        Spec(
            f"similarity of all pairs, {channels} filters",
            "one convolution grouped by channels",
            partial(similar.all_pairs, channels),
            wanted=wanted,
            bound=f"≤ {wanted}",
        )
        for channels, wanted in ((64, 0.1), (256, 0.02))
    ),
    *(
        Spec(
            f"similarity of {pairs} pairs in a step of ResNet18",
            "the step without it",
            partial(similar.regularized_step, pairs, 32),
            wanted=0.12,
        )
        for pairs in get_args(Pairs)
    ),
    Spec(
        "t-SNE of 60,000",
        "scikit-learn's defaults on 20,000, times 3",
        cases.embedding,
        wanted=1 / 2,
        bound="≥ 2× faster",
        pairs=MINUTES,
    ),
    Spec(
        "chapters 01 to 04 at `quick`, executed",
        "5 minutes on two cores",
        cases.book,
        wanted=1.0,
        bound="≤ 5 minutes",
        pairs=MINUTES,
        in_short=False,
    ),
    Spec(
        "sweep of 8 runs by two processes",
        "the same one after the other, one thread each",
        cases.sweep,
        wanted=0.6,
        pairs=MINUTES,
        in_short=False,
    ),
    Spec(
        "peak memory, plain training",
        "1.5 GB, on 60,000 images",
        partial(cases.plain_memory, 4096),
        wanted=1.0,
        bound="under 1.5 GB",
        unit="peak memory",
        in_short=False,
    ),
    *(
        Spec(
            f"memory, scoring {name}",
            "plain training",
            partial(cases.cached_memory, way, 4096),
            wanted=1.05,
            bound="≤ 5 % more",
            unit="peak memory",
        )
        for name, way in (
            ("by convolution", "convolution"),
            ("from patches", "patches"),
        )
    ),
    Spec(
        "memory, deconvnet of 9 strongest, 10,000 images",
        f"the limit given to it, {TOP_MEMORY / 1e6:.0f} MB",
        partial(cases.top_memory, TOP_MEMORY),
        wanted=1.0,
        bound="within the limit",
        pairs=MINUTES,
        unit="peak memory",
    ),
)


def specs(names: list[str]) -> list[Spec]:
    """The rows of these names, in the order of the table; all rows if no name is given.

    Raises:
        ValueError: a name that no row has.
    """
    known = {spec.name: spec for spec in SPECS}
    if unknown := [name for name in names if name not in known]:
        listed = "; ".join(known)
        raise ValueError(f"there is no row {', '.join(map(repr, unknown))}; the rows are: {listed}")
    return [spec for spec in SPECS if not names or spec.name in names]
