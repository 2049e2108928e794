"""What `find_weights` returns: rows, and how they are printed."""

from __future__ import annotations

import dataclasses

from keras_vit.utils.tables import Page, Table

SHOWN = 20


@dataclasses.dataclass(frozen=True)
class FoundWeights:
    """One file of AugReg's index. `weights=` of its constructor takes it; `str` gives its name.

    Attributes:
        model: Name of the constructor, `"ViT_S16"` for example.
        dataset: What its head is for, `"imagenet2012"` for example.
        pretraining: What it was trained on first, `"imagenet21k"` or `"imagenet2012"`.
        image_size: Side in pixels of the images that it was trained on last.
        accuracy: Published top-1 accuracy on `dataset` in %: of the test set, or of the
            validation set where there is no public test set. `None` if it was not published.
        gflops: Operations of one image in 10^9, two for each multiply-accumulate, as
            `keras_vit.planner` counts them.
        parameters: Numbers in the file. Without its head where the index does not say its classes.
        name: What `weights=` calls it.
    """

    model: str
    dataset: str
    pretraining: str
    image_size: int
    accuracy: float | None
    gflops: float
    parameters: int
    name: str

    @property
    def file(self) -> str:
        """Its path on a mirror and in the cache."""
        return f"augreg/{self.name}.npz"

    def __str__(self) -> str:
        return self.name


class WeightsTable(tuple[FoundWeights, ...]):
    """The rows, best first; printed as a table of the first 20."""

    def __str__(self) -> str:
        if not self:
            return "No weights of the index are like this."
        rows = [
            [
                row.model,
                row.dataset,
                row.pretraining,
                str(row.image_size),
                "-" if row.accuracy is None else f"{row.accuracy:.2f}",
                f"{row.gflops:.1f}",
                f"{row.parameters / 1e6:.1f}",
                row.name,
            ]
            for row in self[:SHOWN]
        ]
        heads = (
            "model", "data set", "first trained on", "pixels", "top-1, %", "GFLOPs",
            "million parameters", "weights=",
        )  # fmt: skip
        rest = [f"and {len(self) - SHOWN:,} more"] if len(self) > SHOWN else []
        return str(Page(Table(rows, heads, left=(0, 1, 2, 7)), *rest))

    __repr__ = __str__
