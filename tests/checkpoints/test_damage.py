"""A damaged or hostile file is refused with a sentence, and changes nothing."""

from __future__ import annotations

import json
import zipfile

import h5py
import keras
import numpy as np
import pytest

import keras_vit

KINDS = ("a.npz", "compressed.npz", "a.safetensors", "a.weights.h5", "a.keras")


def _model():
    keras.utils.set_random_seed(0)
    return keras_vit.ViT(16, 8, 12, 1, 3, 8, classes=2)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    model = _model()
    head = model.get_layer("head").kernel
    head.assign(np.ones(head.shape))
    for name in ("a.npz", "a.weights.h5", "a.keras"):
        keras_vit.save_weights(model, folder / name)
    keras_vit.save_weights(model, folder / "a.safetensors", format="google")
    with np.load(folder / "a.npz") as arrays:
        np.savez_compressed(folder / "compressed.npz", **arrays)
    return folder


def _mutant(data, random):
    """Some bytes changed, taken out or put in; half of the time where the headers are."""
    data = bytearray(data)
    for _ in range(random.integers(1, 6)):
        ends = random.random() < 0.5
        span = min(len(data), 3000) if ends else len(data)
        place = (
            int(random.integers(span)) if random.random() < 0.5 else -1 - int(random.integers(span))
        )
        kind = random.integers(4)
        if kind == 0:
            data[place] ^= 1 << int(random.integers(8))
        elif kind == 1:
            data[place] = int(random.integers(256))
        elif kind == 2:
            del data[place : place + int(random.integers(1, 9)) or None]
        else:
            data[place:place] = random.bytes(int(random.integers(1, 9)))
    if random.random() < 0.1:
        del data[int(random.integers(len(data))) :]
    return bytes(data)


@pytest.mark.filterwarnings("ignore:The head in")
@pytest.mark.parametrize("mutants", [6, pytest.param(300, marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", KINDS)
def test_mutants_load_or_raise_value_error(kind, mutants, files, tmp_path):
    whole = (files / kind).read_bytes()
    model = _model()
    before = model.get_weights()
    path = tmp_path / kind
    refused = 0
    for seed in range(mutants):
        path.write_bytes(_mutant(whole, np.random.default_rng(seed)))
        for load in (keras_vit.from_checkpoint, lambda path: keras_vit.load_weights(model, path)):
            try:
                load(path)
            except ValueError as error:  # nothing else, whatever the library below raises
                assert len(str(error)) > 20, (kind, seed)
                refused += 1
                for old, new in zip(before, model.get_weights(), strict=True):
                    np.testing.assert_array_equal(old, new)
            except Exception as error:
                raise AssertionError(f"{kind}, seed {seed}: {error!r}") from error
            else:
                model.set_weights(before)
    assert refused > mutants / 2


def _refused(path):
    with pytest.raises(ValueError, match=path.name) as error:
        keras_vit.from_checkpoint(path)
    return str(error.value)


def test_a_header_that_is_no_python(tmp_path):
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1,"
    data = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("head/kernel.npy", data)
    assert "has no valid header" in _refused(tmp_path / "a.npz")


def test_a_zip_of_a_version_that_python_does_not_read(files, tmp_path):
    data = bytearray((files / "a.npz").read_bytes())
    data[data.rindex(b"PK\x01\x02") + 6] = 99
    (tmp_path / "a.npz").write_bytes(data)
    _refused(tmp_path / "a.npz")


@pytest.mark.parametrize("dtype", [[("a", "f4"), ("b", "i4")], "S5"])
def test_hdf5_with_other_numbers(files, tmp_path, dtype):
    (tmp_path / "a.weights.h5").write_bytes((files / "a.weights.h5").read_bytes())
    with h5py.File(tmp_path / "a.weights.h5", "r+") as file:
        group = file["layers/dense/vars"]
        del group["1"]
        group.create_dataset("1", data=np.zeros(2, dtype))
    assert "head/bias" in _refused(tmp_path / "a.weights.h5")


def test_hdf5_that_claims_more_than_it_has(files, tmp_path):
    (tmp_path / "a.weights.h5").write_bytes((files / "a.weights.h5").read_bytes())
    with h5py.File(tmp_path / "a.weights.h5", "r+") as file:
        group = file["layers/dense/vars"]
        del group["0"], group["1"]
        group.create_dataset("0", (12, 10**6), "f4")  # without data
        group.create_dataset("1", (10**6,), "f4")
    assert "declares" in _refused(tmp_path / "a.weights.h5")


def test_safetensors_in_fp8(files, tmp_path):
    data = (files / "a.safetensors").read_bytes()
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    header["head/bias"]["dtype"] = "F8_E4M3"
    header["head/bias"]["shape"] = [8]
    text = json.dumps(header).encode()
    whole = len(text).to_bytes(8, "little") + text + data[8 + size :]
    (tmp_path / "a.safetensors").write_bytes(whole)
    assert "head/bias" in _refused(tmp_path / "a.safetensors")


def test_hdf5_with_a_heap_of_strings_that_has_no_end(files, tmp_path):
    """The HDF5 library looks for its end for ever."""
    data = bytearray((files / "a.weights.h5").read_bytes())
    first = data.index(b"GCOL") + 16
    data[first + 8 : first + 16] = (2**64 - 17).to_bytes(8, "little")
    (tmp_path / "a.weights.h5").write_bytes(data)
    assert "has no end" in _refused(tmp_path / "a.weights.h5")
