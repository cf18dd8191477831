"""torchvision is imported beside any build of PyTorch."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from fmlib import torchvision_compat

WITHOUT_COMPILED_PART = """
import torch
def fail(path):
    raise OSError("undefined symbol")
torch.ops.load_library = fail
from fmlib import features
assert features.torchvision_compat._declared is not None
features.extractor(torch.nn.Sequential(torch.nn.ReLU()), ["0"])
print(torch.ops.torchvision.nms.default._schema)
"""


class RecordingLibrary:
    """Stands in for `torch.library.Library`."""

    def __init__(self, namespace: str, kind: str) -> None:
        self.opened = (namespace, kind)
        self.schemas: list[str] = []

    def define(self, schema: str) -> None:
        self.schemas.append(schema)


def test_features_import_where_the_binary_does_not_load() -> None:
    """In a fresh interpreter, so that the order of imports within fmlib is tested too."""
    run = subprocess.run(
        [sys.executable, "-c", WITHOUT_COMPILED_PART], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith("torchvision::nms(Tensor dets, Tensor scores")


def test_both_operators_are_declared_if_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torchvision_compat, "_compiled_operators_load", lambda: False)
    monkeypatch.setattr(torch.library, "Library", RecordingLibrary)
    library = torchvision_compat.declare_missing_operators()
    assert isinstance(library, RecordingLibrary)
    assert library.opened == ("torchvision", "DEF")
    assert [schema.split("(")[0] for schema in library.schemas] == ["nms", "qnms"]


def test_nothing_is_declared_where_the_binary_loads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torchvision_compat, "_compiled_operators_load", lambda: True)
    monkeypatch.setattr(torch.library, "Library", RecordingLibrary)
    assert torchvision_compat.declare_missing_operators() is None


def test_no_torchvision_or_no_binary_counts_as_not_loaded(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert not torchvision_compat._compiled_operators_load()
    spec = importlib.util.spec_from_file_location("torchvision", tmp_path / "__init__.py")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)
    assert not torchvision_compat._compiled_operators_load()


def test_a_binary_that_does_not_load_is_found_out(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "_C.so").write_bytes(b"not a library")
    spec = importlib.util.spec_from_file_location("torchvision", tmp_path / "__init__.py")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)
    assert not torchvision_compat._compiled_operators_load()
