"""What is measured: for each row the library's side, its peer's side, and what is said of them."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from math import prod
from pathlib import Path
from statistics import fmean, median
from typing import NamedTuple

import torch
from joblib.externals.loky import get_reusable_executor
from torch import Tensor, nn

from benchmarks import peers, top
from benchmarks.measure import Measure, Sample, added, clock, limit, scaled, timed
from benchmarks.training import (
    IMAGE_SHAPE,
    SKIPS,
    FixedSkips,
    TrainingSet,
    cache_arguments,
    network,
    sweep_run,
    train,
    training_set,
)
from fmlib import attacks, chapters, exploration, models, published
from fmlib.caching import RELEASED, FeatureCache
from fmlib.experiments.common import parallel
from fmlib.features import feature_vectors
from fmlib.visualization import occlusion
from fmlib.visualization.activation_maximization import SMALL, maximize
from fmlib.visualization.units import Unit

ROOT = Path(__file__).parent.parent
EPS = 0.15
SQUARE, STRIDE = 32, 8  # pixels of the square that occludes, and between its positions
RUN_EPOCHS = 10  # of the paper's runs, over which a preparation is spread
ACCURACY_MARGIN = 0.5  # points by which neighbour accuracies may differ and count as equal
ASCENT_MARGIN = 1e-12  # by which pixels found in a batch may differ from those found alone


class Sizes(NamedTuple):
    """How much is measured; the defaults are the full sizes."""

    images: int = 60_000
    attacked: int = 10_000
    mapped: int = 2_000
    searched: int = 10_000
    embedded: int = 60_000
    embedded_by_peer: int = 20_000
    occluded: int = 224
    product: int = 2048
    products: int = 10
    epochs: int = RUN_EPOCHS
    seeds: int = 4
    sweep_epochs: int = 2
    ascent_steps: int = SMALL.steps
    stepped: int = 128
    filters: int = 256

    def batch(self, size: int) -> int:
        """A batch size, reduced where there are fewer than three such batches."""
        return min(size, self.images // 3)


FULL = Sizes()
SHORT = Sizes(
    images=300,
    attacked=100,
    mapped=100,
    searched=100,
    embedded=200,
    embedded_by_peer=200,
    occluded=64,
    product=128,
    products=1,
    epochs=1,
    ascent_steps=3,
    stepped=8,
    filters=16,
)


class Verdict(NamedTuple):
    """What is said of a row once it is measured, and whether its conditions are met."""

    note: str
    holds: bool = True


class Case(NamedTuple):
    """The two measures of a row and, afterwards, what is said of them."""

    subject: Measure
    other: Measure
    verdict: Callable[[], Verdict]


def plain_epoch(train_set: TrainingSet, batch_size: int) -> Measure:
    """An epoch of plain training from fresh weights."""
    return timed(lambda: train(network(train_set), train_set, batch_size))


# --- plain training ------------------------------------------------------------------------


def alone(way: str, batch_size: int, sizes: Sizes) -> Measure:
    """An epoch by the library, the tutorial loop or the loop in memory, in its own process."""
    training_set(sizes.images)  # so that missing data are found before a process starts
    run = _process("benchmarks.epoch", way, sizes.batch(batch_size), sizes.images)

    def measure() -> Sample:
        wall, cpu = map(float, run().split())
        return Sample(wall, wall, cpu)

    return measure


def _process(module: str, *arguments: object) -> Callable[[], str]:
    """What runs a module in a process of its own, with as many threads, and returns its output."""
    command = [sys.executable, "-m", module, *map(str, arguments)]
    environment = os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads())}
    run = partial(subprocess.run, cwd=ROOT, env=environment, stdout=subprocess.PIPE, check=True)
    return lambda: run(command, text=True).stdout


def tutorial(batch_size: int, sizes: Sizes) -> Case:
    """The library's epoch against the usual tutorial loop's, on images scaled alike."""
    return Case(
        alone("library", batch_size, sizes),
        alone("tutorial", batch_size, sizes),
        lambda: Verdict(
            "The loop's DataLoader has its default settings: no worker processes. Each side runs "
            "in its own process."
        ),
    )


def in_memory(batch_size: int, sizes: Sizes) -> Case:
    """The library's epoch against the same loop on tensors in memory."""
    return Case(
        alone("library", batch_size, sizes),
        alone("in_memory", batch_size, sizes),
        lambda: Verdict("Each side runs in its own process."),
    )


def training_operations(model: nn.Module) -> int:
    """Floating-point operations of a training step on one image, two per multiply-add.

    Forwards and for the weights' gradients every weighted layer counts once; for the gradients
    of the inputs all but the first.
    """
    costs = [cost for cost in models.multiply_adds(model, IMAGE_SHAPE) if cost]
    return 2 * (3 * sum(costs) - costs[0])


def arithmetic_floor(batch_size: int, sizes: Sizes) -> Case:
    """The library's epoch against the time of its arithmetic at the rate of a matrix product."""
    train_set, n = training_set(sizes.images), sizes.product
    factors = torch.rand(2, n, n, generator=torch.Generator().manual_seed(0))
    operations = training_operations(network(train_set)) * sizes.images
    done = 2 * n**3 * sizes.products
    rates: list[float] = []

    def products() -> Sample:
        sample, _ = clock(lambda: [torch.mm(*factors) for _ in range(sizes.products)])
        rates.append(done / sample.wall / 1e9)
        return scaled(sample, operations / done)

    return Case(
        plain_epoch(train_set, sizes.batch(batch_size)),
        products,
        lambda: Verdict(
            f"{operations / sizes.images / 1e6:.2f} million floating-point operations an image, "
            f"two for a multiply-add; {median(rates):.0f} GFLOP/s in a product of matrices {n}×{n}."
        ),
    )


def double_precision(batch_size: int, sizes: Sizes) -> Case:
    """The library's epoch in float64 against the same in float32."""
    single, double = (training_set(sizes.images, dtype) for dtype in (torch.float32, torch.float64))
    batch_size = sizes.batch(batch_size)
    return Case(
        plain_epoch(double, batch_size),
        plain_epoch(single, batch_size),
        lambda: Verdict("Both are the library's."),
    )


# --- the cache -----------------------------------------------------------------------------


def _preparation(taken: list[float]) -> str:
    return (
        f"Setting up the cache takes {median(taken):.2f} s once in a run; of {RUN_EPOCHS} epochs "
        "each bears its share, which is counted."
    )


def reading(name: str, batch_size: int, sizes: Sizes) -> Case:
    """An epoch of cached training that skips a third of the images against a plain epoch."""
    train_set, batch_size = training_set(sizes.images), sizes.batch(batch_size)
    skips, taken = SKIPS[name], list[float]()

    def cached() -> Sample:
        model = network(train_set)
        prepared, cache = clock(lambda: FixedSkips(model, train_set, skips))
        epoch, history = clock(lambda: train(model, train_set, batch_size, cache))
        assert history.epochs[0].skipped == sizes.images // 3
        taken.append(prepared.wall)
        return added(epoch, scaled(prepared, 1 / RUN_EPOCHS))

    changed = skips.config.model_dump(exclude_defaults=True)
    options = "".join(f", {key} = {value}" for key, value in changed.items())
    return Case(
        cached,
        plain_epoch(train_set, batch_size),
        lambda: Verdict(f"The released reading{options}. {_preparation(taken)}"),
    )


def scoring(way: str, batch_size: int, sizes: Sizes) -> Case:
    """Vectors, similarities, decisions and update for all batches of an epoch, no training.

    By `convolution` of each batch, or from `patches`: statistics computed before training.
    """
    train_set, batch_size = training_set(sizes.images), sizes.batch(batch_size)
    model, taken = network(train_set), list[float]()
    order = torch.randperm(sizes.images, generator=torch.Generator().manual_seed(0))

    def score(cache: FeatureCache) -> None:
        cache.start_epoch()
        for index in order.split(batch_size):
            cache.after_step(*train_set, cache.keep(*train_set, index), index)

    def measure() -> Sample:
        by_position = way == "patches"
        prepared, cache = clock(
            lambda: FixedSkips(model, train_set, SKIPS["one pass"], by_position=by_position)
        )
        scored, _ = clock(lambda: score(cache))
        taken.append(prepared.wall)
        return added(scored, scaled(prepared, 1 / RUN_EPOCHS))

    return Case(
        measure,
        plain_epoch(train_set, batch_size),
        lambda: Verdict(f"All batches of an epoch, one pass. {_preparation(taken)}"),
    )


def authors_settings(sizes: Sizes) -> Case:
    """A whole run with the released cache and its own hits against a plain run."""
    train_set, batch_size = training_set(sizes.images), sizes.batch(4096)
    skipped: list[float] = []

    def cached() -> None:
        model = network(train_set)
        cache = FeatureCache(model, *cache_arguments(train_set, RELEASED))
        history = train(model, train_set, batch_size, cache, sizes.epochs)
        skipped.append(fmean(epoch.skipped / epoch.seen for epoch in history.epochs))

    return Case(
        timed(cached),
        timed(lambda: train(network(train_set), train_set, batch_size, epochs=sizes.epochs)),
        lambda: Verdict(
            f"{sizes.epochs} epochs, {100 * fmean(skipped):.0f} % of the images skipped. The "
            f"authors logged {authors_ratio(4096):.2f}; both of their times include tests."
        ),
    )


def authors_ratio(batch_size: int) -> float:
    """Median seconds of the authors' cached epochs over those of their plain ones."""
    log = published.authors_log()
    seconds = log[log["batch_size"] == batch_size].groupby("training")["seconds"].median()
    return float(seconds["cached"] / seconds["plain"])


# --- feature vectors, attacks, what units see, embeddings ---------------------------------


def vectors(way: str, sizes: Sizes) -> Case:
    """Feature vectors of the first convolution's maps by the library and in another way."""
    train_set = training_set(sizes.images)
    with torch.no_grad():
        maps = network(train_set)[:2](train_set.images[: sizes.mapped])
    parts = maps.split(models.chunk_size(maps))
    by_map = [part.numpy() for part in parts]

    def ours() -> Tensor:
        return torch.cat([feature_vectors(part) for part in parts])

    def theirs() -> Tensor:
        if way == "torch":
            return torch.cat([peers.vectors_by_torch(part) for part in parts])
        found = [torch.from_numpy(peers.vectors_by_map(part)).flatten(1) for part in by_map]
        return torch.cat(found)

    def verdict() -> Verdict:
        equal = torch.allclose(ours().double(), theirs().double(), rtol=1e-3, atol=1e-3)
        said = "agree within" if equal else "differ by more than"
        return Verdict(f"{prod(maps.shape[:2]):,} maps; the vectors {said} 0.001.", equal)

    return Case(timed(ours), timed(theirs), verdict)


def fgsm(sizes: Sizes) -> Case:
    """The library's FGSM and captum's, on the same images."""
    train_set = training_set(sizes.images)
    model = network(train_set)
    train(model, TrainingSet(*(part[:1000] for part in train_set)), 64)
    images, labels = (part[: sizes.attacked] for part in train_set)
    ours = partial(attacks.fgsm, model, images, labels, EPS)
    theirs = partial(peers.captum_fgsm, model, images, labels, EPS)

    def verdict() -> Verdict:
        differing = int((ours() - theirs()).abs().amax(dim=(1, 2, 3)).gt(1e-6).sum())
        note = f"captum: {peers.CAPTUM_BATCH} images at a time, gradients below 1e-6 not left out."
        return Verdict(f"{note} {differing} of {len(images):,} results differ.", differing == 0)

    return Case(timed(ours), timed(theirs), verdict)


def occluded(sizes: Sizes) -> Case:
    """The library's occlusion maps of a colour image and captum's, of the same network."""
    size = sizes.occluded
    model = models.compact_cnn((3, size, size))
    image = torch.rand(3, size, size, generator=torch.Generator().manual_seed(0))
    maps = partial(
        occlusion.occlusion, model, image, "conv3", square=SQUARE, stride=STRIDE, target=0
    )
    theirs = partial(peers.captum_occlusion, model[:-1], image, SQUARE, STRIDE, target=0)

    def verdict() -> Verdict:
        ours, peer = maps().per_pixel("logit"), theirs()
        equal = torch.allclose(ours.expand_as(peer), peer, rtol=0, atol=1e-5)
        said = "agree within" if equal else "differ by more than"
        return Verdict(
            f"An image of {size}×{size}, {maps().occluded.logit.numel()} positions; the library "
            "also follows a feature map and both predictions. captum: "
            f"{peers.CAPTUM_POSITIONS} positions at a time, its fastest. The means per pixel "
            f"{said} 0.00001.",
            equal,
        )

    return Case(timed(maps), timed(theirs), verdict)


def ascents(count: int, sizes: Sizes) -> Case:
    """Gradient ascent on so many maps of the compact network at once, and on one after another."""
    model, shape = models.compact_cnn(dtype=torch.float64), (3, 32, 32)
    units = [Unit("conv3", index) for index in range(count)]
    config = SMALL.model_copy(update={"steps": sizes.ascent_steps})

    def together() -> Tensor:
        return maximize(model, units, shape, config, seed=0).pictures

    def alone() -> Tensor:
        found = [maximize(model, [unit], shape, config, seed=0).pictures for unit in units]
        return torch.cat(found)

    def verdict() -> Verdict:
        apart = (together() - alone()).abs().max().item()
        said = "agree within" if apart <= ASCENT_MARGIN else "differ by more than"
        return Verdict(
            f"Maps of the last convolution of `compact_cnn` at 32×32 in float64, fresh weights, "
            f"{config.steps} steps; the pictures {said} {ASCENT_MARGIN:g}.",
            apart <= ASCENT_MARGIN,
        )

    return Case(timed(together), timed(alone), verdict)


def embedding(sizes: Sizes) -> Case:
    """The library's t-SNE of many images against scikit-learn's of fewer, scaled up."""
    few = sizes.embedded_by_peer
    images, labels = training_set(sizes.embedded)
    found: dict[str, exploration.Points] = {}

    def ours() -> None:
        found["ours"] = exploration.tsne(images, seed=0)

    def theirs() -> Sample:
        sample, found["theirs"] = clock(lambda: peers.sklearn_tsne(images[:few], seed=0))
        return scaled(sample, len(images) / few)

    def verdict() -> Verdict:
        equally_many = exploration.tsne(images[:few], seed=0)
        own = exploration.knn_accuracy(equally_many, labels[:few])
        peer = exploration.knn_accuracy(found["theirs"], labels[:few])
        every = exploration.knn_accuracy(found["ours"], labels)
        return Verdict(
            f"The library takes openTSNE on 50 principal components, with fewer iterations; "
            f"scikit-learn's time is scaled in proportion to the images, which favours it. "
            f"Accuracy of the 10 nearest neighbours at {few:,} images: {own:.1f} %, scikit-learn "
            f"{peer:.1f} %, {ACCURACY_MARGIN} points less would do; at {len(images):,}: "
            f"{every:.1f} %.",
            own >= peer - ACCURACY_MARGIN,
        )

    return Case(timed(ours), theirs, verdict)


# --- rows of minutes, and memory -----------------------------------------------------------


def book(sizes: Sizes) -> Case:
    """The first paper's chapters run anew, two at once, one thread each, against five minutes."""
    names = list(chapters.CHAPTERS)[:4]

    def run(chapter: str, folder: str) -> None:
        out = f"{folder}/{chapter}.ipynb"
        command = [sys.executable, "-m", "fmlib", "run", chapter, "--out", out]
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, check=True)

    def run_all() -> None:
        with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda chapter: run(chapter, folder), names))

    return Case(
        timed(run_all),
        limit(5 * 60),
        lambda: Verdict(f"{len(names)} chapters at `quick`; {os.cpu_count()} cores."),
    )


def sweep(sizes: Sizes) -> Case:
    """Runs of several batch sizes and seeds by two processes against one after the other."""
    runs = [
        (sizes.images, sizes.batch(batch_size), seed, sizes.sweep_epochs)
        for batch_size in (64, 4096)
        for seed in range(sizes.seeds)
    ]

    def by_processes() -> None:
        parallel(sweep_run, runs, jobs=2)
        get_reusable_executor().shutdown(wait=True)  # so that their CPU time is counted

    return Case(
        timed(by_processes),
        timed(lambda: parallel(sweep_run, runs, jobs=1)),
        lambda: Verdict(
            f"Batch sizes 64 and 4096 with {sizes.seeds} seeds each, {sizes.sweep_epochs} epochs a "
            "run; starting the two processes and reading the data in each is counted."
        ),
    )


def peak(training: str, batch_size: int, sizes: Sizes) -> Measure:
    """Peak memory of a process that trains for an epoch, as the value, and its times."""
    run = _process("benchmarks.peak", training, sizes.images, sizes.batch(batch_size))

    def measure() -> Sample:
        sample, printed = clock(run)
        return sample._replace(value=float(printed))

    return measure


def _memory(subject: Measure, other: Measure, said: str) -> Case:
    found: list[float] = []

    def noted() -> Sample:
        sample = subject()
        found.append(sample.value)
        return sample

    return Case(noted, other, lambda: Verdict(f"{median(found) / 1e9:.2f} GB, {said}"))


def plain_memory(batch_size: int, sizes: Sizes) -> Case:
    """Peak memory of plain training against a limit."""
    said = "PyTorch and torchvision included; the peak is reached while the data are read."
    return _memory(peak("plain", batch_size, sizes), limit(1.5e9), said)


def cached_memory(way: str, batch_size: int, sizes: Sizes) -> Case:
    """Peak memory while training with a cache, data already read, against plain training."""
    measures = peak(way, batch_size, sizes), peak("training", batch_size, sizes)
    return _memory(*measures, "counted once the data are read.")


def top_memory(memory: int, sizes: Sizes) -> Case:
    """Peak memory of finding and projecting each map's nine strongest activations, and its limit.

    The peak is what the process's memory rises by, results and the batch in hand included.
    """
    run = _process("benchmarks.top", sizes.searched, memory)

    def measure() -> Sample:
        sample, printed = clock(run)
        return sample._replace(value=float(printed))

    said = (
        f"{sizes.searched:,} random images, {len(top.MAPS)} maps; all of the network's maps would "
        f"take {top.maps_bytes(sizes.searched) / 1e9:.2f} GB at once."
    )
    return _memory(measure, limit(memory), said)
