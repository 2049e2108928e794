"""The figures of a model and the page that holds them, small ones and those of the real Ti/16."""

from __future__ import annotations

import re

import keras
import numpy as np
import pytest
from PIL import Image
from support.colour_photos import write_photos

import keras_vit
from keras_vit.analysis import page
from keras_vit.data.image_ops import fit_to_size
from keras_vit.plots import paper_figures

TINY = {"width": 12, "depth": 3, "num_heads": 2, "mlp_dim": 20, "classes": 3}
FILES = {
    "attention_distance.png", "attention_maps.png", "figure7.png", "filters.png", "index.html",
    "positions.png",
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Photos, and a model of another size than square for pixels in [0, 255]."""
    folder = tmp_path_factory.mktemp("inside")
    write_photos(folder / "photos", 2)
    model = keras_vit.ViT((8, 12), 4, **TINY, include_preprocessing=True)
    model.save(folder / "vit<small>.keras")
    return folder


def test_the_tool_writes_a_whole_folder_and_keeps_an_old_one(folder, tool):
    command = ("visualize", folder / "vit<small>.keras", "--photos", folder / "photos")
    out = folder / "out"
    code, printed, _ = tool(*command, "--out", out)
    assert code == 0 and str(out / "index.html") in printed
    assert {path.name for path in out.iterdir()} == FILES
    for name in FILES - {"index.html"}:
        with Image.open(out / name) as picture:
            assert picture.convert("L").getextrema()[0] < 200, f"{name} is blank"
    page = (out / "index.html").read_text("utf-8")
    assert "vit&lt;small&gt;" in page and "<small>" not in page
    # All that it shows is in it.
    sources = re.findall(r'(?:src|href)="([^"]{0,30})', page)
    assert len(sources) == 4 and all(s.startswith("data:image/png;base64,") for s in sources)
    assert "http" not in re.sub(r'base64,[^"]*', "", page)
    for place in ("Figure 7 left", "Figure 7 centre", "Figure 11", "Figures 6 and 14"):
        assert place in page

    code, _, error = tool(*command, "--out", out)
    assert code == 2 and "--overwrite" in error
    code, _, error = tool(
        "visualize", folder / "vit<small>.keras", "--photos", out, "--out", folder / "b"
    )
    assert code == 0  # pictures are photos, too
    code, _, _ = tool(*command, "--out", out, "--overwrite")
    assert code == 0 and {path.name for path in (folder / "out.old").iterdir()} == FILES


def test_nothing_is_written_where_there_is_nothing_to_show(folder, tmp_path, tool):
    keras_vit.BiT(32, (1, 1, 1, 1), 1, classes=3, include_preprocessing=True).save(
        tmp_path / "bit.keras"
    )
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "a.jpg").write_bytes(b"no photo")
    for model, photos, message in (
        (tmp_path / "bit.keras", folder / "photos", "must be a Vision Transformer"),
        (folder / "vit<small>.keras", tmp_path / "empty", "must be a folder with photos"),
        (folder / "vit<small>.keras", tmp_path / "nowhere", "must be a folder with photos"),
        (folder / "vit<small>.keras", tmp_path / "broken", "None of the 1 photos"),
    ):
        code, _, error = tool("visualize", model, "--photos", photos, "--out", tmp_path / "out")
        assert code == 2 and message in error
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bit.keras", "broken", "empty"]


def test_a_wrapped_model_and_models_without_a_class_token_or_filters():
    photos = np.random.default_rng(0).normal(size=(3, 8, 12, 3)).astype("float32")
    model = keras_vit.ViT((8, 12), 4, **TINY)
    inside = page.look_inside(model, photos, shown=2)
    assert inside.filters.shape == (11, 4, 4, 3) and inside.masks.shape == (2, 8, 12)
    maps = keras_vit.attention_maps(model, photos)
    np.testing.assert_allclose(
        inside.distances, keras_vit.mean_attention_distance(maps, (2, 3), 4), rtol=1e-5
    )
    wrapped = keras.Sequential([keras.Input((8, 12, 3)), model, keras.layers.Dense(2)])
    again = page.look_inside(wrapped, photos)
    np.testing.assert_allclose(again.distances, inside.distances, rtol=1e-5)

    gap = page.look_inside(keras_vit.ViT((8, 12), 4, **TINY, classifier="gap"), photos)
    assert gap.similarity.shape == (2, 3, 2, 3)
    figure = paper_figures.figure_7(None, gap.similarity, gap.distances, gap.uniform)
    assert [axes.get_title() for axes in figure.axes[:2]] == [
        "Position embedding similarity",
        "Mean attention distance",
    ]


def test_the_maps_of_the_figure_lie_as_the_patches_do():
    similarity = np.arange(36.0).reshape(2, 3, 2, 3) / 36
    picture = paper_figures.positions(similarity).axes[0].images[0].get_array()
    assert picture.shape == (2 * 3 - 1, 3 * 4 - 1)
    for row, column in np.ndindex(2, 3):
        part = picture[row * 3 : row * 3 + 2, column * 4 : column * 4 + 3]
        np.testing.assert_allclose(part, similarity[row, column], rtol=1e-6)
    dots = paper_figures.attention_distance(np.array([[1.0, 2], [3, 4], [5, 6]])).axes[0].lines
    assert [line.get_ydata().tolist() for line in dots] == [[1, 3, 5], [2, 4, 6]]


def test_the_real_model_shows_what_the_paper_says(ti16_path, photos):
    """Eight photos: grid structure, and heads that are local and global first, global last."""
    model = keras_vit.from_checkpoint(ti16_path, include_preprocessing=True)
    pixels = [np.asarray(Image.open(path).convert("RGB")) for path in photos[::13]]
    pixels = np.stack([np.asarray(fit_to_size(image, (224, 224))) for image in pixels])
    inside = page.look_inside(model, pixels, shown=1)

    assert inside.neighbours >= 0.7
    assert inside.similarity.mean() <= 0.2
    rows, columns = np.divmod(np.arange(196), 14)
    cosines = inside.similarity.reshape(196, 196)
    far = np.hypot(rows[:, None] - rows, columns[:, None] - columns) > 3
    cross = (rows[:, None] == rows) | (columns[:, None] == columns)
    # Rows and columns show, also away from the patch itself.
    assert cosines[far & cross].mean() > cosines[far & ~cross].mean() + 0.2

    first, last = inside.thirds
    assert first.std() > 1.5 * last.std()
    assert np.ptp(first, axis=1).mean() > 3 * np.ptp(last, axis=1).mean()
    assert first.min() < 0.25 * inside.uniform < 0.8 * inside.uniform < first.max()
    assert last.min() > 0.8 * inside.uniform  # all of them global
    # Filters have structure, not noise: most of it is in the middle of the patch.
    strength = np.abs(inside.filters - 0.5).mean(axis=(0, 3))
    assert strength[4:12, 4:12].mean() > 1.5 * strength[[0, 1, -2, -1]].mean()
