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
from keras_vit.utils.numbers import readable
from keras_vit.utils.tables import Page, Table


def plan_page(plans: Sequence[Plan]) -> Page:
    """A page of plans of one model, with a column for each."""
    first = plans[0]
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
        ("computing, s a step", [readable(plan.compute_seconds) for plan in plans]),
        ("sending, s a step", [readable(plan.communication_seconds) for plan in plans]),
        ("images/s", [readable(plan.images_per_second) for plan in plans]),
        ("exaFLOPs", [readable(plan.exaflops) for plan in plans]),
        ("days", [readable(plan.days) for plan in plans]),
        ("device-days", [readable(plan.device_days) for plan in plans]),
    ]
    blocks = [
        f"{first.model}, image size {first.image_size}: {first.parameters:,} parameters, "
        f"{readable(first.forward_flops / 1e9)} GFLOPs forward an image",
        f"{first.steps:,} steps of {first.batch_size:,} images",
        "",
        Table(
            [(label, *cells) for label, cells in rows],
            ("", *(f"{plan.devices} x {plan.device.name}" for plan in plans)),
        ),
    ]
    if not all(plan.fits for plan in plans):
        blocks += ["", "Less memory: accumulate, rematerialise, shard the optimizer, more devices."]
    return Page(*blocks)


def fit_page(fits: Sequence[Fit]) -> Page:
    """A page with a row for each model of `planner.fits`."""
    heads = (
        "",
        "parameters, millions",
        f"GB, {fits[0].batch_size} images",
        "GB, remat.",
        "most images",
        "most, remat.",
        "fits",
    )
    rows = [
        (
            fit.model,
            f"{fit.parameters / 1e6:.1f}",
            f"{fit.bytes / 1e9:.1f}",
            f"{fit.rematerialised_bytes / 1e9:.1f}",
            f"{fit.largest_batch:,}",
            f"{fit.rematerialised_largest_batch:,}",
            fit.answer,
        )
        for fit in fits
    ]
    return Page(
        Table(rows, heads, left=(0, 6)),
        "",
        f"GB: memory of a step with a batch of {fits[0].batch_size} images.",
        "most images: the largest batch that fits.",
        "remat.: with rematerialisation, which computes the inside of blocks again.",
    )


def paper_page() -> Page:
    """A page with the paper's Table 6 beside the results of `pretraining_exaflops`."""
    rows = []
    for run in TABLE_6:
        found = pretraining_exaflops(run.model, "jft", run.epochs)
        rows.append(
            (
                config_of(run.model)[0],
                f"{run.epochs}",
                f"{run.imagenet:.2f}",
                f"{run.exaflops:,.0f}",
                f"{found:,.1f}",
                f"{100 * (found / run.exaflops - 1):+.1f}",
            )
        )
    heads = (
        "JFT-300M",
        "epochs",
        "top-1, %",
        "published, exaFLOPs",
        "computed, exaFLOPs",
        "difference, %",
    )
    return Page(Table(rows, heads))


def device_page() -> Page:
    """A page of the devices and where their numbers come from."""
    rows = [
        (
            device.name,
            _gb(device.memory),
            f"{device.link / 1e9:.0f}",
            ", ".join(f"{name} {peak / 1e12:g}" for name, peak in device.peak.items()),
        )
        for device in DEVICES.values()
    ]
    sources = [(device.name, device.source) for device in DEVICES.values()]
    return Page(
        Table(rows, ("", "memory, GB", "link, GB/s", "peak, TFLOPS"), left=(0, 3)),
        "",
        "Sources:",
        *(f"  {name}: {source}" for name, source in sources),
    )


def paper_picture(path: str | os.PathLike[str], overwrite: bool = False) -> Path:
    """Draws pre-training compute against ImageNet accuracy (paper, Figure 5, right).

    Args:
        path: Path of the PNG.
        overwrite: Whether a file there may be replaced.

    Raises:
        ValueError: If `path` does not end with `.png`.
        FileExistsError: If `path` exists and may not be replaced.
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
    return readable(number / 1e9)
