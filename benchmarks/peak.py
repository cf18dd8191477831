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


def main(training: str, images: str, batch_size: str) -> None:
    """Train for one epoch, plainly or cached, and print the peak in bytes."""
    train_set = training_set(int(images))
    model = network(train_set)
    cache = FixedSkips(model, train_set, SKIPS["released"]) if training == "cached" else None
    train(model, train_set, int(batch_size), cache)
    print(peak_bytes())


if __name__ == "__main__":
    main(*sys.argv[1:])
