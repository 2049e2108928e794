"""What can be evaluated on: the layouts of ImageNet's validation images, folders, data sets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.colour_photos import write_photos

from keras_vit import data, evaluate
from keras_vit.data import write_records
from keras_vit.data.preprocessing import labels
from keras_vit.data.sources.imagenet import find_labelled, image_number
from keras_vit.evaluate.evaluation_data import of_image_data

WORDNET_IDS = [wordnet_id for wordnet_id, _ in labels(1000)]
# Images 1, 2 and 3 of the validation set: their true classes.
CLASSES = (65, 970, 230)
NAMES = tuple(f"ILSVRC2012_val_{i:08d}.JPEG" for i in (1, 2, 3))


def write_image(path: Path, level: int = 100) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (9, 7), (level, level, level)).save(path, "jpeg")
    return path


@pytest.fixture
def flat(tmp_path) -> Path:
    """`imagenet/val`, three images in one folder."""
    for name in NAMES:
        write_image(tmp_path / "imagenet" / "val" / name)
    return tmp_path / "imagenet" / "val"


def found_in(folder: Path, truth: Path | None = None) -> dict[str, str | None]:
    return {path.name: name for path, name in find_labelled(folder, truth).images}


EXPECTED = dict(zip(NAMES, (WORDNET_IDS[i] for i in CLASSES), strict=True))


def test_numbers_of_images():
    assert image_number("val/ILSVRC2012_val_00050000.JPEG") == 50_000
    assert image_number("ILSVRC2012_val_00050001.JPEG") == 0  # there is none
    assert image_number("ILSVRC2012_test_00000001.JPEG") == 0


@pytest.mark.parametrize("naming", [lambda i: WORDNET_IDS[i], str, "{:03d}".format])
def test_class_folders_of_imagenet(tmp_path, naming):
    for name, i in zip(NAMES, CLASSES, strict=True):
        write_image(tmp_path / "val" / naming(i) / name)
    found = {
        name: labelled if labelled.startswith("n") else WORDNET_IDS[int(labelled)]
        for name, labelled in found_in(tmp_path / "val").items()
    }
    assert found == EXPECTED
    # The folder above, with or without one to train on, gives the same.
    assert set(found_in(tmp_path)) == set(NAMES)


@pytest.mark.parametrize("place", [".", ".."])
@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("val.txt", "{name} {index}"),
        ("val_map.txt", "val/{name}\t{wnid}"),
        ("LOC_val_solution.csv", "{stem},{wnid} 85 1 499 272 {wnid} 4 5 6 7 "),
    ],
)
def test_a_flat_folder_and_a_file_beside_it(flat, place, file, line):
    lines = ["ImageId,PredictionString"] if file.endswith("csv") else []
    for name, i in zip(NAMES, CLASSES, strict=True):
        stem = name.removesuffix(".JPEG")
        lines.append(line.format(name=name, stem=stem, index=i, wnid=WORDNET_IDS[i]))
    (flat / place / file).write_text("\n".join(lines) + "\n")
    assert found_in(flat) == EXPECTED
    assert find_labelled(flat).truth.name == file
    assert found_in(flat.parent) == EXPECTED


def test_kaggles_folders(tmp_path):
    """Whose val.txt numbers the images and says nothing of their classes."""
    val = tmp_path / "ILSVRC" / "Data" / "CLS-LOC" / "val"
    for name in NAMES:
        write_image(val / name)
    rows = [f"{name[:-5]},{wnid} 1 2 3 4" for name, wnid in EXPECTED.items()]
    (tmp_path / "LOC_val_solution.csv").write_text("ImageId,PredictionString\n" + "\n".join(rows))
    (val / "val.txt").write_text("".join(f"{n[:-5]} {i}\n" for i, n in enumerate(NAMES, 1)))
    assert found_in(val) == EXPECTED
    with pytest.raises(ValueError, match=r"numbers the images .* LOC_val_solution.csv"):
        find_labelled(val, val / "val.txt")


def write_devkit(folder: Path, with_meta: bool = True) -> Path:
    """Class numbers in an order of their own, and the table of them."""
    folder.mkdir(parents=True)
    truth = folder / "ILSVRC2012_validation_ground_truth.txt"
    truth.write_text("3\n1\n2\n")
    if with_meta:
        from scipy.io import savemat

        rows = np.zeros(3, [("ILSVRC2012_ID", "O"), ("WNID", "O"), ("words", "O")])
        for row, number, which in zip(rows, (1, 2, 3), (970, 230, 65), strict=True):
            row["ILSVRC2012_ID"], row["WNID"], row["words"] = number, WORDNET_IDS[which], "x, y"
        savemat(folder / "meta.mat", {"synsets": rows[:, None]})
    return truth


def test_the_devkits_ground_truth(flat, tmp_path):
    pytest.importorskip("scipy", reason="reads the devkit's table")
    truth = write_devkit(flat.parent / "ILSVRC2012_devkit_t12" / "data")
    assert found_in(flat) == EXPECTED
    truth.write_text("3\n1\n7\n")
    with pytest.raises(ValueError, match=r"numbers of classes in meta.mat. Received: '7'"):
        find_labelled(flat)
    truth.write_text("3\n")
    with pytest.raises(ValueError, match=r"Not in it: ILSVRC2012_val_00000002.JPEG, .* 2 of 3"):
        find_labelled(flat)
    truth.with_name("meta.mat").write_bytes(b"MATLAB 5.0 MAT-file, cut off")
    with pytest.raises(ValueError, match=r"meta.mat must be the devkit's table"):
        find_labelled(flat)


def test_the_devkits_ground_truth_needs_its_table_and_scipy(flat, monkeypatch):
    truth = write_devkit(flat / "devkit", with_meta=False)
    with pytest.raises(ValueError, match=r"its meta.mat explains.*devkit_t12.tar.gz"):
        find_labelled(flat, truth)
    truth.with_name("meta.mat").write_bytes(b"")
    monkeypatch.setitem(__import__("sys").modules, "scipy.io", None)
    with pytest.raises(ImportError, match=r"meta.mat, .* pip install scipy"):
        find_labelled(flat, truth)


def test_a_flat_folder_alone_has_numbers_for_real(flat):
    assert found_in(flat) == dict.fromkeys(NAMES)
    data = evaluate.open_data(flat, 8)
    images, of_images, numbers = zip(*data.dataset.as_numpy_iterator(), strict=True)
    assert (data.class_names, data.count, data.name) == ((), 3, "val")
    assert [*of_images, *numbers] == [-1, -1, -1, 1, 2, 3]
    assert images[0].shape == (8, 8, 3)


def test_names_with_the_class_first(tmp_path):
    for name in ("000_n01440764_tench.JPEG", "n01443537_12.jpg"):
        write_image(tmp_path / "photos" / name)
    assert list(found_in(tmp_path / "photos").values()) == ["000_n01440764", "n01443537"]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (("a.jpg", "n01440764_1.jpg"), r"no class folders, and the file names do not .*: a\.jpg"),
        (("train/cat/1.jpg", "train/dog/1.jpg"), r"no folder to evaluate on .* only `train`"),
        (("cat/1.jpg",), "one class only, 'cat'"),
        (("cat/1.txt", "dog/1.txt"), "hold no images"),
        ((), "no class folders"),
        (("0/ILSVRC2012_val_00000001.JPEG", "1000/ILSVRC2012_val_00000002.JPEG"), "Received: 1000"),
    ],
)
def test_folders_that_do_not_say_what_they_hold(tmp_path, files, message):
    folder = tmp_path / "photos"
    folder.mkdir()
    for file in files:
        write_image(folder / file)
    with pytest.raises(ValueError, match=message):
        find_labelled(folder)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ILSVRC2012_val_00000001.JPEG\n", r"Line 1 of .*must be a file name and a class"),
        ("ILSVRC2012_val_00000001.JPEG 1000\n", r"indices 0 to 999.* Received: 1000 in .*val\.txt"),
        ("ILSVRC2012_val_00000001.JPEG 5\n", r"Not in it: ILSVRC2012_val_00000002.JPEG"),
        (b"\xff\xfe\x00", "must be a text file"),
    ],
)
def test_truth_that_is_none(flat, text, message):
    (flat / "val.txt").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ValueError, match=message):
        find_labelled(flat)


def test_truth_for_other_photos_and_where_it_makes_no_sense(tmp_path):
    write_image(tmp_path / "photos" / "a.jpg")
    truth = tmp_path / "classes.txt"
    truth.write_text("a.jpg polar bear\nb.jpg cat\n")
    assert found_in(tmp_path / "photos", truth) == {"a.jpg": "polar bear"}
    with pytest.raises(ValueError, match=r"There is no file .*none\.txt"):
        find_labelled(tmp_path / "photos", tmp_path / "none.txt")
    write_photos(tmp_path / "colours", 1)
    with pytest.raises(ValueError, match=r"holds the images themselves"):
        find_labelled(tmp_path / "colours", truth)
    (tmp_path / "solution").mkdir()
    solution = tmp_path / "solution" / "LOC_val_solution.csv"
    solution.write_text("id,class\na,n01440764\n")
    with pytest.raises(ValueError, match=r"the columns ImageId and PredictionString"):
        find_labelled(tmp_path / "photos", solution)


def test_a_damaged_photo_is_named_or_left_out(tmp_path):
    folder = write_photos(tmp_path / "colours", 2)
    (folder / "red" / "9.jpg").write_bytes(b"\xff\xd8\xff")
    with pytest.raises(ValueError, match=r"1 images in .*cannot be read(.|\n)*red.9\.jpg"):
        evaluate.open_data(folder, 8)
    with pytest.warns(UserWarning, match="left out"):
        data = evaluate.open_data(folder, 8, on_error="skip")
    assert (data.count, data.class_names) == (6, ("blå", "green", "red"))
    assert [Path(path).name for path in data.unreadable] == ["9.jpg"]


def test_a_crop_keeps_what_it_is_told(tmp_path):
    """A ramp from left to right: what is cut off is seen in its least and largest level."""
    ramp = np.tile(np.arange(200, dtype="uint8")[None, :, None], (200, 1, 3))
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        Image.fromarray(ramp).save(tmp_path / name / "1.png")
    spans = []
    for options in ({}, {"resize": "crop"}, {"resize": "crop", "centre": 0.5}):
        data = evaluate.open_data(tmp_path, 20, **options)
        image = next(data.dataset.as_numpy_iterator())[0]
        spans.append(np.ptp(image) * 20 / 19)  # between the centres of the pixels
    np.testing.assert_allclose(spans, [200, 175, 100], atol=5)


@pytest.mark.parametrize("source", ["records", "digits"])
@pytest.mark.parametrize("centre", [0.4, 0.7, 1.0])
def test_a_crop_of_records_and_digits_keeps_what_it_is_told(tmp_path, source, centre):
    """A window of whole pixels that is not resized: the very levels of the middle."""
    if source == "digits":
        elements = data.open("digits", to_evaluate=True)
        whole = [np.asarray(image) for image, _ in elements.validation.dataset.take(2)]
    else:
        random = np.random.default_rng(0)
        image = Image.fromarray(random.integers(0, 256, (40, 60, 3), "uint8"))
        for name in ("a", "b"):
            (tmp_path / name).mkdir()
            for number in (1, 2):
                image.save(tmp_path / name / f"{number}.png")
        source = write_records(tmp_path, tmp_path / "records", progress=False)
        whole = [np.asarray(image)] * 2
    side = round(40 * centre)
    opened = evaluate.open_data(source, side, resize="crop", centre=centre)
    for (found, _, _), levels in zip(opened.dataset.take(2), whole, strict=True):
        top, left = ((length - side) // 2 for length in levels.shape[:2])
        np.testing.assert_array_equal(found, levels[top : top + side, left : left + side])


def test_data_are_resampled_as_asked_and_say_so(tmp_path):
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40, 3), "uint8"))
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        noise.save(tmp_path / name / "1.png")
    for interpolation in ("bilinear", "bicubic"):
        opened = evaluate.open_data(tmp_path, 16, interpolation=interpolation)
        assert opened.interpolation == interpolation
        (found, _, _), *_ = opened.dataset
        expected = np.asarray(noise.resize((16, 16), Image.Resampling[interpolation.upper()]))
        np.testing.assert_allclose(found, expected, atol=1.1)  # Pillow rounds twice
        prepared = data.from_arrays(
            *[(np.asarray(noise)[None], np.array([0]))] * 2, ["a"], 16, 1,
            crop_area=(1.0, 1.0), flip=False, interpolation=interpolation,
        )  # fmt: skip
        assert prepared.interpolation == of_image_data(prepared).interpolation == interpolation
        for batches in (prepared.train, prepared.validation, prepared.training()):
            np.testing.assert_allclose(next(iter(batches))[0][0], found, atol=1e-3)
    with pytest.raises(ValueError, match="`interpolation` must be one of bilinear, bicubic"):
        data.open("digits").prepare(8, interpolation="lanczos")


@pytest.mark.parametrize(
    ("data", "options", "message"),
    [
        ("photos", {"interpolation": "nearest"}, "`interpolation` must be one of"),
        ("photos", {"resize": "stretch"}, "`resize` must be one of"),
        ("photos", {"centre": 0}, r"`centre` must be a number in \(0, 1\]"),
        ("photos", {"on_error": "ignore"}, "`on_error` must be one of"),
        ("photos", {"split": "test"}, "`split` goes with the name of a TensorFlow data set"),
        ("digits", {"truth": "val.txt"}, "`truth` goes with a folder"),
        ("no_such_pets", {}, "neither a folder nor a TensorFlow data set"),
    ],
)
def test_options_that_do_not_go_with_the_data(tmp_path, monkeypatch, data, options, message):
    monkeypatch.chdir(tmp_path)
    write_photos(tmp_path / "photos", 1)
    with pytest.raises(ValueError, match=message):
        evaluate.open_data(data, 8, **options)


def test_records_and_digits(tmp_path):
    write_photos(tmp_path / "photos", 5)
    write_records(tmp_path / "photos", tmp_path / "records", validation_share=0.4)
    data = evaluate.open_data(tmp_path / "records", 8)
    found = [int(label) for _, label, _ in data.dataset.as_numpy_iterator()]
    assert (sorted(found), data.count) == ([0, 0, 1, 1, 2, 2], 6)
    assert data.class_names == ("blå", "green", "red")
    assert evaluate.open_data("digits", 8).count == 360
