"""Files that nobody has vouched for."""

from __future__ import annotations

import io
import tracemalloc
import zipfile

import numpy as np
import pytest

from keras_vit.checkpoints.files.npz import NpzReader

ARRAYS = {
    "a/kernel": np.arange(12, dtype="float32").reshape(3, 4),
    "a/bias": np.float16(2.5).reshape(()),
    "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "empty": np.zeros((0, 3), "int32"),
}


def _npy(array, **options):
    file = io.BytesIO()
    np.lib.format.write_array(file, array, **options)
    return file.getvalue()


def _header(shape, dtype="<f4"):
    """An .npy header that claims what it wants."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        file, {"descr": dtype, "fortran_order": False, "shape": shape}
    )
    return file.getvalue()


def _zip(path, members):
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members:
            archive.writestr(zipfile.ZipInfo(name), data)
    return path


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_reads_what_numpy_writes(tmp_path, save):
    save(tmp_path / "file.npz", **ARRAYS)
    with NpzReader(tmp_path / "file.npz") as reader:
        assert reader.shapes == {name: array.shape for name, array in ARRAYS.items()}
        for name, array in ARRAYS.items():
            np.testing.assert_array_equal(reader[name], array)
            assert reader[name].dtype == array.dtype


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_one_changed_byte_is_found(tmp_path, save):
    path = tmp_path / "file.npz"
    random = np.random.default_rng(0).normal(size=1000)
    save(path, weights=random)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with NpzReader(path) as reader, pytest.raises(ValueError, match=r"'weights' is damaged"):
        reader["weights"]


@pytest.mark.parametrize("keep", [0.0, 0.3, 0.9, 0.999])
def test_truncated(tmp_path, keep):
    path = tmp_path / "file.npz"
    np.savez(path, **ARRAYS, big=np.zeros(5000))
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])
    with pytest.raises(ValueError, match=r"cut off"):
        NpzReader(path)


def test_pickled_objects_are_never_loaded(tmp_path):
    path = tmp_path / "file.npz"
    np.savez(path, evil=np.array([{"a": 1}], dtype=object))
    with pytest.raises(ValueError, match="pickled objects"):
        NpzReader(path)


@pytest.mark.parametrize("shape", [(10**12,), (10**6, 10**6, 10**6), (-1,), (2,)])
def test_a_shape_that_the_bytes_do_not_fill(tmp_path, shape):
    path = _zip(tmp_path / "file.npz", [("a.npy", _header(shape) + b"\0" * 4)])
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=r"'a'"):
            NpzReader(path)
        assert tracemalloc.get_traced_memory()[1] < 5e6  # nothing of the claimed size was made
    finally:
        tracemalloc.stop()


def test_declared_terabytes_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("keras_vit.checkpoints.files.npz.MAX_TOTAL_BYTES", 1000)
    np.savez_compressed(tmp_path / "bomb.npz", a=np.zeros(10**6))
    with pytest.raises(ValueError, match="declares more than"):
        NpzReader(tmp_path / "bomb.npz")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_repeated_names(tmp_path):
    data = _npy(np.zeros(3))
    path = _zip(tmp_path / "file.npz", [("a.npy", data), ("a.npy", data)])
    with pytest.raises(ValueError, match="'a' is there twice"):
        NpzReader(path)


@pytest.mark.parametrize(
    "name", ["../a.npy", "/a.npy", "b/../../a.npy", "..\\a.npy", "C:a.npy", "a.pkl", "folder/"]
)
def test_suspicious_names(tmp_path, name):
    path = _zip(tmp_path / "file.npz", [(name, _npy(np.zeros(3)))])
    with pytest.raises(ValueError, match="not the name of an array"):
        NpzReader(path)


@pytest.mark.parametrize("data", [b"", b"no npy at all", b"\x93NUMPY\x09\x00", _header((1,))[:40]])
def test_members_that_are_no_arrays(tmp_path, data):
    path = _zip(tmp_path / "file.npz", [("a.npy", data)])
    with pytest.raises(ValueError, match="no valid header"):
        NpzReader(path)


def test_code_in_a_header_is_not_run(tmp_path):
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': __import__('os').getpid()}"
    data = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header
    path = _zip(tmp_path / "file.npz", [("a.npy", data)])
    with pytest.raises(ValueError, match="no valid header"):
        NpzReader(path)


def test_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="no file"):
        NpzReader(tmp_path / "missing.npz")
