"""Prints plans and tables, and draws the paper's Figure 5."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from keras_vit.models import BiTConfig
from keras_vit.planner.devices import DEVICES
from keras_vit.planner.fitting import Fit
from keras_vit.planner.flops import config_of, pretraining_exaflops
from keras_vit.planner.paper_runs import TABLE_6
from keras_vit.planner.plans import Plan
from keras_vit.utils.files import check_target


def plan_lines(plans: Sequence[Plan]) -> list[str]:
    """Plans of one model, a column each."""
    first = plans[0]
    heads = [f"{plan.devices} x {plan.device.name}" for plan in plans]
    rows = [
        ("precision", [plan.precision for plan in plans]),
        ("copies of the model", [f"{plan.data_parallel}" for plan in plans]),
        *(
            (f"{name}, GB a device", [_gb(plan.memory[name]) for plan in plans])
            for name in first.memory
        ),
        ("memory of a device, GB", [_gb(plan.device.memory) for plan in plans]),
        ("fits", ["yes" if plan.fits else "NO" for plan in plans]),
        ("sent a step, GB a device", [_gb(plan.communication["total"]) for plan in plans]),
        ("computing, s a step", [f"{plan.compute_seconds:.3g}" for plan in plans]),
        ("sending, s a step", [f"{plan.communication_seconds:.3g}" for plan in plans]),
        ("images/s", [f"{plan.images_per_second:,.0f}" for plan in plans]),
        ("exaFLOPs", [f"{plan.exaflops:,.4g}" for plan in plans]),
        ("days", [f"{plan.days:,.3g}" for plan in plans]),
        ("device-days", [f"{plan.device_days:,.3g}" for plan in plans]),
    ]
    width = max(len(text) for cells in (heads, *(cells for _, cells in rows)) for text in cells)
    lines = [
        f"{first.model}, image size {first.image_size}: {first.parameters:,} parameters, "
        f"{first.forward_flops / 1e9:,.4g} GFLOPs forward an image",
        f"{first.steps:,} steps of {first.batch_size} images",
        "",
    ]
    for label, cells in (("", heads), *rows):
        lines.append(f"{label:26}" + "".join(f"  {cell:>{width}}" for cell in cells).rstrip())
    if not all(plan.fits for plan in plans):
        lines += ["", "Less memory: accumulate, rematerialise, shard the optimizer, more devices."]
    return lines


def fit_lines(fits: Sequence[Fit]) -> list[str]:
    """The rows of `planner.fits`."""
    batch = fits[0].batch_size
    lines = [
        f"{'':14}{'million':>10} {f'GB, batch {batch}':>14}{'rematerialised':>16}"
        f"{'largest batch':>15}{'rematerialised':>16}  fits",
    ]
    for fit in fits:
        lines.append(
            f"{fit.model:14}{fit.parameters / 1e6:10.1f} {fit.bytes / 1e9:14.1f}"
            f"{fit.rematerialised_bytes / 1e9:16.1f}{fit.largest_batch:15,}"
            f"{fit.rematerialised_largest_batch:16,}  {fit.answer}"
        )
    return lines


def paper_lines() -> list[str]:
    """The paper's Table 6 beside what `pretraining_exaflops` gives."""
    lines = [f"{'JFT-300M':14}{'epochs':>7}{'top-1':>8}{'published':>11}{'computed':>10}{'':>8}"]
    for run in TABLE_6:
        found = pretraining_exaflops(run.model, "jft", run.epochs)
        lines.append(
            f"{config_of(run.model)[0]:14}{run.epochs:7}{run.imagenet:8.2f}{run.exaflops:11,.0f}"
            f"{found:10,.1f}{100 * (found / run.exaflops - 1):+7.1f}%"
        )
    return lines


def device_lines() -> list[str]:
    """The devices and where their numbers come from."""
    lines = [f"{'':11}{'GB':>6}{'GB/s':>7}  peak in TFLOPS, source"]
    for device in DEVICES.values():
        peaks = ", ".join(f"{name} {peak / 1e12:g}" for name, peak in device.peak.items())
        lines.append(f"{device.name:11}{_gb(device.memory):>6}{device.link / 1e9:7.0f}  {peaks}")
        lines.append(f"{'':26}{device.source}")
    return lines


def paper_picture(path: str | os.PathLike[str], overwrite: bool = False) -> Path:
    """Draws pre-training compute against ImageNet accuracy (paper, Figure 5, right).

    Args:
        path: Of the PNG.
        overwrite: Whether a file there may be replaced.

    Raises:
        ValueError: If `path` does not end with `.png`.
        FileExistsError: If there is something already.
        ImportError: If matplotlib is not installed.
    """
    from keras_vit import plots
    from keras_vit.plots import charts

    target = check_target(path, ".png", overwrite)
    points: dict[str, list[tuple[float, float, str]]] = {}
    for run in TABLE_6:
        title, config = config_of(run.model)
        if isinstance(config, BiTConfig):
            family = "ResNet (BiT)"
        else:
            family = "Transformer (ViT)" if getattr(config, "stem", None) is None else "Hybrid"
        epochs = "" if run.epochs == 7 else f", {run.epochs} ep"
        point = (run.exaflops, run.imagenet, title.removeprefix("BiT-") + epochs)
        points.setdefault(family, []).append(point)
    figure = charts.compute_against_accuracy(points, "ImageNet top-1 in %, fine-tuned at 384 px")
    plots.save(figure, target)
    return target


def _gb(number: float) -> str:
    return f"{number / 1e9:.3g}"
