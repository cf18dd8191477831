"""Peak memory of one epoch of training: `python -m benchmarks.peak plain 60000 4096`.

A process of its own, since a peak cannot be undone.
"""

import resource
import sys
from pathlib import Path

from benchmarks.training import SKIPS, FixedSkips, network, train, training_set
from fmlib import torchvision_compat as torchvision_compat  # must precede torchvision

# isort: split
# What the cache imports counts in both trainings, so that scoring alone makes the difference.
from torchvision.models import feature_extraction as feature_extraction


def peak_bytes() -> int:
    """Largest resident memory of this process so far."""
    status = Path("/proc/self/status")
    if status.is_file():  # getrusage would count what the process was forked from
        lines = status.read_text().splitlines()
        return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # macOS: bytes


def forget_peak() -> None:
    """Begin anew, where the system can: reading the data takes more than training on them."""
    reset = Path("/proc/self/clear_refs")
    if reset.is_file():
        reset.write_text("5")


def main(training: str, images: str, batch_size: str) -> None:
    """Train for one epoch and print the peak in bytes, of all (`plain`) or since the data are read.

    The latter for `training`, plainly, and with a cache: `patches` or `convolution`.
    """
    train_set = training_set(int(images))
    if training != "plain":
        forget_peak()
    model, cache = network(train_set), None
    if training in ("patches", "convolution"):
        by_position = training == "patches"
        cache = FixedSkips(model, train_set, SKIPS["released"], by_position=by_position)
    train(model, train_set, int(batch_size), cache)
    print(peak_bytes())


if __name__ == "__main__":
    main(*sys.argv[1:])
