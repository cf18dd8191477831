"""Peak memory of one epoch of training: `python -m benchmarks.peak plain 60000 4096`.

A process of its own, since a peak cannot be undone.
"""

import resource
import sys
from pathlib import Path

from benchmarks import cases


def peak_bytes() -> int:
    """Largest resident memory of this process so far."""
    status = Path("/proc/self/status")
    if status.is_file():  # getrusage would count what the process was forked from
        lines = status.read_text().splitlines()
        return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # macOS: bytes


def main(training: str, images: str, batch_size: str) -> None:
    """Train for one epoch, plainly or cached, and print the peak in bytes."""
    train = cases.training_set(int(images))
    model = cases.network(train)
    skips = cases.SKIPS["released"] if training == "cached" else None
    policy = None if skips is None else cases.skipping(model, train, skips)
    cases.train(model, train, int(batch_size), policy)
    print(peak_bytes())


if __name__ == "__main__":
    main(*sys.argv[1:])
