"""Let torchvision be imported beside a PyTorch build that its binary was not made for.

The Python part of torchvision registers shape rules for its compiled operators when it is
imported.  Where the compiled part does not match the installed PyTorch (a CPU build of one
beside a CUDA build of the other), the operators do not exist and the import fails with
"operator torchvision::nms does not exist".  Nothing in this book calls them; declaring the
two that are asked for is enough.  Where the compiled part loads, nothing is changed.
"""

import importlib.machinery
import importlib.util
from pathlib import Path

import torch

_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)


def _compiled_operators_load() -> bool:
    """Try to load torchvision's compiled operators without importing torchvision."""
    package = importlib.util.find_spec("torchvision")
    if package is None or package.origin is None:
        return False
    folder = Path(package.origin).parent
    for suffix in importlib.machinery.EXTENSION_SUFFIXES:
        if (library := folder / f"_C{suffix}").exists():
            try:
                torch.ops.load_library(library)
            except OSError:
                return False
            return True
    return False


def declare_missing_operators() -> torch.library.Library | None:
    """Declare the operator schemas that importing torchvision needs, if they are missing.

    Returns the library that holds the declarations, which must be kept alive, or None
    where torchvision's own operators load.
    """
    if _compiled_operators_load():
        return None
    library = torch.library.Library("torchvision", "DEF")
    for schema in _SCHEMAS:
        library.define(schema)
    return library


_declared = declare_missing_operators()
