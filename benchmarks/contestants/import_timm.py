"""Imports timm where torchvision is missing or does not fit the installed torch.

timm wants torchvision for its datasets and augmentations, which no test here uses; the build of
torch for the CPU often has none beside it. Empty classes stand in for it while timm is imported.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import sys
import types
from typing import ClassVar

_LIBRARIES: list = []


class _Empty(types.ModuleType):
    __path__: ClassVar[list[str]] = []  # a package

    def __getattr__(self, name: str):
        if name.startswith("__"):
            raise AttributeError(name)
        import torch

        modes = ("NEAREST", "BILINEAR", "BICUBIC", "BOX", "HAMMING", "LANCZOS")
        return type(name, (torch.nn.Module,), {mode: mode for mode in modes})


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(self, fullname, path=None, target=None):
        if fullname.split(".")[0] == "torchvision":
            return importlib.machinery.ModuleSpec(fullname, self, is_package=True)
        return None

    def create_module(self, spec):
        return _Empty(spec.name)

    def exec_module(self, module):
        pass


def _torchvision_works() -> bool:
    try:
        import torchvision.ops  # noqa: F401
    except Exception:  # a build for another torch fails with a RuntimeError
        return False
    return True


def _forget_torchvision() -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
        del sys.modules[name]


def _hide_torchvision() -> None:
    """From here on nobody finds it, so that nobody tries a build that fails."""
    _forget_torchvision()
    sys.modules["torchvision"] = None  # type: ignore[assignment]


def import_timm():
    """timm, or an `ImportError`."""
    import torch  # noqa: F401

    if "timm" in sys.modules or _torchvision_works():
        import timm
    else:
        _hide_torchvision()
        del sys.modules["torchvision"]
        finder = _Finder()
        sys.meta_path.insert(0, finder)
        try:
            import timm
        finally:
            sys.meta_path.remove(finder)
            _hide_torchvision()
    return timm


def import_torchvision():
    """torchvision with its transforms of photos, or an `ImportError`.

    Where its build does not fit the installed torch, importing it stops at two operators that are
    missing. No transform needs them; so they get a name here, and nothing behind it.
    """
    import torch

    if not _torchvision_works() and importlib.util.find_spec("torchvision"):
        _forget_torchvision()
        library = torch.library.Library("torchvision", "FRAGMENT")
        for name in ("nms", "qnms"):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _LIBRARIES.append(library)  # it lasts as long as this object
    import torchvision

    return torchvision


def import_transformers():
    """transformers, or an `ImportError`."""
    import torch  # noqa: F401

    if not _torchvision_works():
        _hide_torchvision()
    import transformers

    return transformers
