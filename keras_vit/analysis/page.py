"""Draws the paper's figures of a model, on one page that explains them."""

from __future__ import annotations

import base64
import dataclasses
import html
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from keras_vit import plots
from keras_vit.analysis import measurements
from keras_vit.checkpoints.model_variables import layers_of
from keras_vit.data import image_files
from keras_vit.layers import PatchEmbed, PositionEmbedding
from keras_vit.models.flatten import flat
from keras_vit.models.parts import positions_of
from keras_vit.plots import paper_figures
from keras_vit.predict import Classifier, load_classifier
from keras_vit.utils.files import new_folder
from keras_vit.utils.progress import Progress
from keras_vit.utils.text import printable

PAGE_FILE = "index.html"
MOST_PHOTOS = 128  # as many as the paper averages the attention distance over
SHOWN_PHOTOS = 12


@dataclasses.dataclass(frozen=True)
class Inside:
    """What a model has learned.

    Attributes:
        filters: `[28, rows, columns, 3]` in [0, 1], or `None` for a hybrid, whose patches are
            cut from features.
        similarity: `[rows, columns, rows, columns]`, cosines of the position embeddings, or `None`
            for a model that has learned none: rotary positions are computed.
        distances: `[depth, heads]` in pixels, the mean over all photos.
        uniform: The distance of a head that looks at all tokens alike, in pixels.
        photos: `[n, H, W, 3]` in [0, 255], the first photos.
        masks: `[n, H, W]` in [0, 1], what the class token saw of these photos.
    """

    filters: np.ndarray | None
    similarity: Any
    distances: np.ndarray
    uniform: float
    photos: np.ndarray
    masks: np.ndarray

    @property
    def neighbours(self) -> float:
        """Mean cosine of patches that touch along a side, of a model with learned positions."""
        below = np.einsum("ijij->ij", self.similarity[:-1, :, 1:])
        beside = np.einsum("ijij->ij", self.similarity[:, :-1, :, 1:])
        return float(np.concatenate([below.ravel(), beside.ravel()]).mean())

    @property
    def thirds(self) -> tuple[np.ndarray, np.ndarray]:
        """The distances of the heads in the first third of the blocks, and in the last."""
        third = max(len(self.distances) // 3, 1)
        return self.distances[:third], self.distances[-third:]


def look_inside(model: Any, photos: np.ndarray, shown: int = SHOWN_PHOTOS) -> Inside:
    """Measures everything that the paper's Figures 6, 7, 11 and 14 show.

    Args:
        model: A Vision Transformer or hybrid, of one image size; wrapped or not.
        photos: `[B, H, W, 3]`, scaled as the model expects. Only the attention maps of one photo
            at a time are in memory.
        shown: How many photos to keep with their masks, from the first on.

    Raises:
        ValueError: If `model` is another kind of model, or there are no photos.
    """
    model = flat(model)
    embeds, position = layers_of(model, PatchEmbed), positions_of(model)
    if not embeds or position is None:
        raise ValueError(
            "`model` must be a Vision Transformer or a hybrid: a BiT and a Mixer have neither "
            f"position embeddings nor attention. Received: model={model.name!r}"
        )
    if len(photos) == 0:
        raise ValueError("`photos` must hold at least one photo. Received: an empty array")
    grid = position.grid_size
    image_size = photos.shape[1:3]
    kernel = embeds[0].projection.kernel
    # A hybrid cuts its patches from the stem's output, where a step is several pixels wide.
    patch_size = tuple(
        embeds[0].patch_size * round(pixels / features) if features else embeds[0].patch_size
        for pixels, features in zip(image_size, embeds[0].input.shape[1:3], strict=True)
    )
    distances, masks = [], []
    with Progress(len(photos), 1, int(sys.stdout.isatty()), unit="photo") as progress:
        for i in range(len(photos)):
            maps = measurements.attention_maps(model, photos[i : i + 1])
            prefix = maps.shape[-1] - grid[0] * grid[1]
            distances.append(measurements.mean_attention_distance(maps, grid, patch_size, prefix))
            if i < shown:
                masks.append(measurements.attention_masks(maps, grid, image_size, prefix)[0])
            progress.show(i + 1)
    uniform = np.full((1, 1, 1, *maps.shape[-2:]), 1 / maps.shape[-1])
    similarity = None
    if isinstance(position, PositionEmbedding):
        similarity = measurements.position_similarity(
            position.embedding, grid, position.num_prefix_tokens
        )
    return Inside(
        filters=measurements.rgb_filters(kernel) if kernel.shape[2] == 3 else None,
        similarity=similarity,
        distances=np.mean(distances, axis=0),
        uniform=float(
            measurements.mean_attention_distance(uniform, grid, patch_size, prefix)[0, 0]
        ),
        photos=photos[:shown],
        masks=np.stack(masks),
    )


def write_report(
    source: str | Path,
    photos: str | Path,
    out: str | Path,
    weights: str | None = None,
    overwrite: bool = False,
) -> Path:
    """Writes a picture for each figure, and a page that holds them with captions.

    Args:
        source: As in `predict.load_classifier`.
        photos: A folder with photos, or with folders of them. Of more than 128 photos, 128 spread
            over all are measured.
        out: The folder to write. It appears whole or not at all.
        weights: As in `predict.load_classifier`.
        overwrite: Whether `out` may exist already; it is then kept as `OUT.old`.

    Returns:
        The path of the page. The page needs no other file.

    Raises:
        ValueError: If `source` is not a Vision Transformer, no photo can be read, or `out` exists
            already.
        ImportError: If matplotlib is not installed.
    """
    plots.require_matplotlib()
    with new_folder(out, overwrite) as folder:
        found = _readable(Path(photos))
        classifier = load_classifier(source, weights)
        inside = look_inside(classifier.model, _pixels(found, classifier))
        name = printable(Path(source).stem)  # a checkpoint's model has no name of its own
        names = [photo.path.stem for photo in found[: len(inside.photos)]]
        for file, figure in _figures(inside, name, names).items():
            plots.save(figure, folder / file)
        page = _page(inside, f"Looking inside {name}", len(found), folder)
        (folder / PAGE_FILE).write_text(page, "utf-8")
    return Path(out) / PAGE_FILE


def _readable(folder: Path) -> list[image_files.Photo]:
    """At most 128 photos, spread over the folder; so are the first 12 of them."""
    paths = image_files.find_images(folder) if folder.is_dir() else []
    if not paths:
        raise ValueError(
            "`photos` must be a folder with photos (JPEG, PNG, BMP, GIF or WebP). Received: "
            f"{str(folder)!r}"
        )
    paths = _spread(paths, MOST_PHOTOS)
    shown = _spread(paths, SHOWN_PHOTOS)
    found, unreadable = image_files.check_images([*shown, *(p for p in paths if p not in shown)])
    if not found:
        raise ValueError(
            f"None of the {len(paths)} photos in {str(folder)!r} can be read. Save them again as "
            "JPEG or PNG."
        )
    for path, reason in unreadable.items():
        warnings.warn(f"{path} cannot be read and is left out: {reason}", stacklevel=2)
    return found


def _spread(paths: list[Path], most: int) -> list[Path]:
    count = min(most, len(paths))
    return [paths[i * len(paths) // count] for i in range(count)]


def _pixels(photos: list[image_files.Photo], classifier: Classifier) -> np.ndarray:
    dataset = image_files.fitted_photos(
        photos, classifier.image_size, classifier.resize, classifier.interpolation
    )
    return np.stack(list(dataset.as_numpy_iterator()))


def _figures(inside: Inside, name: str, names: list[str]) -> dict[str, Any]:
    """File name -> figure; for what a model may lack, see `_MISSING`."""
    distance = (inside.distances, inside.uniform)
    drawn = {
        "attention_distance.png": paper_figures.attention_distance(*distance),
        "attention_maps.png": paper_figures.attention_over_photos(
            inside.photos, inside.masks, names
        ),
        "figure7.png": paper_figures.figure_7(
            inside.filters, inside.similarity, *distance, title=name
        ),
    }
    if inside.filters is not None:
        drawn["filters.png"] = paper_figures.filters(inside.filters)
    if inside.similarity is not None:
        drawn["positions.png"] = paper_figures.positions(inside.similarity)
    return drawn


# File -> why a model may have no such figure.
_MISSING = {
    "filters.png": "its patches are cut from features of a ResNet",
    "positions.png": "its positions are rotary, which are computed and not learned",
}


# File, heading, the place in the paper, and what the paper says about it.
CAPTIONS = (
    (
        "filters.png",
        "RGB embedding filters",
        "Figure 7 left",
        "The principal components of the filters with which a patch becomes a token, the one of "
        "most variance first. The paper: they look like plausible basis functions for the fine "
        "structure within a patch; look for blobs of colour, edges, and waves of several "
        "directions and widths. Grey is a weight of zero; the sign and the scale of a component "
        "mean nothing.",
    ),
    (
        "positions.png",
        "Similarity of position embeddings",
        "Figure 7 centre, section 4.5",
        "For each patch a map of the cosines between its position embedding and all others, laid "
        "out as the patches are in the image. Nobody told the model where the patches lie; near "
        "ones have become alike, and rows and columns show as a cross around each patch.",
    ),
    (
        "attention_distance.png",
        "Mean attention distance",
        "Figure 7 right, Figure 11, appendix D.7",
        "How far each head looks, a dot for each: the counterpart of a receptive field in a CNN. "
        "In the first blocks some heads look at most of the image and others only nearby; "
        "towards the end nearly all look far.",
    ),
    (
        "attention_maps.png",
        "What the class token looked at",
        "Figures 6 and 14, appendix D.8",
        "Attention rollout from the class token to the image, through all blocks, multiplied "
        "with the photo. The model looks at what matters for the class.",
    ),
)


def _page(inside: Inside, title: str, count: int, folder: Path) -> str:
    first, last = inside.thirds
    here = {
        "attention_distance.png": f"{first.min():.0f} to {first.max():.0f} pixels in the first "
        f"third of the blocks (standard deviation {first.std():.0f}), {last.min():.0f} to "
        f"{last.max():.0f} in the last ({last.std():.0f}); a head that looks everywhere alike has "
        f"{inside.uniform:.0f}. Photos: {count}; the paper takes 128.",
        "attention_maps.png": "the photos of the folder, or some spread over it, with the names of "
        "their files.",
    }
    if inside.similarity is not None:
        here["positions.png"] = (
            f"mean cosine of neighbours {inside.neighbours:.2f}, of all pairs "
            f"{inside.similarity.mean():.2f}."
        )
    sections = []
    for file, heading, place, says in CAPTIONS:
        picture = folder / file
        if not picture.exists():
            figure = f"<p>This model has none: {_MISSING[file]}.</p>"
        else:
            data = base64.b64encode(picture.read_bytes()).decode("ascii")
            figure = f'<img alt="{heading}" src="data:image/png;base64,{data}">'
        measured = f"<p><b>Here:</b> {here[file]}</p>" if file in here else ""
        sections.append(
            f"<section>\n<h2>{heading}</h2>\n<figure>{figure}\n<figcaption><p><b>In the paper "
            f"({place}):</b> {says}</p>{measured}</figcaption></figure>\n</section>"
        )
    return PAGE.format(title=html.escape(title), sections="\n".join(sections))


PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto }}
figure {{ margin: 0 }}
img {{ max-width: 100%; border: 1px solid #ddd }}
</style>
<h1>{title}</h1>
<p>The figures of "An Image is Worth 16x16 Words" (arXiv 2010.11929), drawn for this model.</p>
{sections}
</html>
"""
