import gzip
import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

from msg.datasets import DatasetError
from msg.datasets.archives import MAX_BYTES, open_gzip, open_npz


def read(path: Path, name: str) -> np.ndarray:
    with open_npz(path) as arrays:
        return arrays[name]


def write(path: Path, name: str, content: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{name}.npy", content)
    return path


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize(
    "array",
    [
        np.arange(12.0).reshape(3, 4),
        np.asfortranarray(np.arange(12, dtype=np.int16).reshape(3, 4)),
        np.array(3, ">i4"),
        np.empty((0, 5), np.float32),
        np.array([True, False]),
        np.array(["a", "bc"]),
    ],
    ids=["float", "by-columns", "big-endian", "empty", "bool", "text"],
)
def test_arrays_are_what_numpy_reads(tmp_path, save, array):
    save(tmp_path / "a.npz", a=array)
    found = read(tmp_path / "a.npz", "a")
    with np.load(tmp_path / "a.npz") as oracle:
        assert found.dtype == oracle["a"].dtype
        np.testing.assert_array_equal(found, oracle["a"])
    assert found.flags.writeable


def header(text: str, version: tuple[int, int] = (1, 0)) -> bytes:
    written = text.encode()
    return b"\x93NUMPY" + bytes(version) + len(written).to_bytes(2 if version == (1, 0) else 4, "little") + written


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (
            header("{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000,)}"),
            "unpacks to 1,000,000,000,000 numbers",
        ),
        (header("{'descr': '<f8', 'fortran_order': False, 'shape': (3,)}") + bytes(23), "has not the 24 bytes"),
        (header("{'descr': '<f8', 'fortran_order': False, 'shape': (3,)}") + bytes(25), "has not the 24 bytes"),
        (header("{'descr': '<f8', 'fortran_order': False, 'shape': (-1, -3)}") + bytes(24), "has not the 24 bytes"),
        (header("{'descr': '|O', 'fortran_order': False, 'shape': (1,)}") + b"cposix\n", "never unpickled"),
        (header("{'descr': [('a', '|O')], 'fortran_order': False, 'shape': (1,)}"), "never unpickled"),
        (header("{'descr': '<f8', 'fortran_order': False, 'shape': ()}", (3, 0)) + bytes(8), "unknown version"),
        (header("-" * 9000), None),
        (header("(" * 9000), None),
        (header("x" * 60000), None),
        (b"cposix\nmkdir\n", "magic"),
        (b"", "magic"),
    ],
)
def test_a_header_that_lies_is_refused_before_memory_is_taken(tmp_path, content, problem):
    with pytest.raises(Exception, match=problem):
        read(write(tmp_path / "a.npz", "a", content), "a")


def test_a_member_that_is_not_wanted_is_not_read(tmp_path):
    np.savez(tmp_path / "a.npz", a=np.ones(2), names=np.array([object]))
    assert read(tmp_path / "a.npz", "a").tolist() == [1, 1]
    with pytest.raises(KeyError, match=r"no array b among \['a', 'names'\]"):
        read(tmp_path / "a.npz", "b")


def test_the_sum_of_all_members_is_bounded(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", **{f"a{k}": np.zeros(100_000) for k in range(5)})
    with open_npz(tmp_path / "a.npz", max_bytes=4_100_000):
        pass
    with (
        pytest.raises(DatasetError, match=r"a\.npz unpacks to 4,000,\d+ bytes, more than 3,900,000 bytes: .*max_bytes"),
        open_npz(tmp_path / "a.npz", max_bytes=3_900_000),
    ):
        pass
    assert MAX_BYTES == 2 * 1024**3


def test_numbers_that_become_larger_are_bounded_as_what_they_become(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", a=np.zeros(1_000_000, np.int8))
    with (
        open_npz(tmp_path / "a.npz", max_bytes=3_999_999) as arrays,
        pytest.raises(DatasetError, match=r"a\.npz unpacks to 1,000,000 numbers \(a\), more than 3,999,999 bytes"),
    ):
        arrays["a"]
    with open_npz(tmp_path / "a.npz", max_bytes=4_000_000) as arrays:
        assert len(arrays["a"]) == 1_000_000


def test_members_swallowed_by_the_one_before_are_missed(tmp_path):
    np.savez(tmp_path / "a.npz", a=np.ones(2), b=np.ones(2))
    content = bytearray((tmp_path / "a.npz").read_bytes())
    content[content.index(b"PK\x01\x02") + 33] = 1  # the comment of a is now 256 bytes long
    (tmp_path / "a.npz").write_bytes(content)
    with zipfile.ZipFile(tmp_path / "a.npz") as archive:
        assert archive.namelist() == ["a.npy"]
    with pytest.raises(zipfile.BadZipFile, match="its directory has 1 of 2 members"):
        read(tmp_path / "a.npz", "a")


def test_an_archive_may_have_a_comment(tmp_path):
    np.savez(tmp_path / "a.npz", a=np.ones(2))
    with zipfile.ZipFile(tmp_path / "a.npz", "a") as archive:
        archive.comment = b"made by somebody"
    assert read(tmp_path / "a.npz", "a").tolist() == [1, 1]


def test_a_large_file_may_unpack_to_a_hundred_times_its_size(tmp_path):
    np.savez(tmp_path / "a.npz", a=np.arange(1000.0))
    with open_npz(tmp_path / "a.npz", max_bytes=1):
        pass


def test_gzip_is_bounded_and_checked_to_its_end(tmp_path):
    path = tmp_path / "a.gz"
    path.write_bytes(gzip.compress(b"0,1\n" * 10_000))
    with open_gzip(path) as file:
        assert file.read() == b"0,1\n" * 10_000
    with pytest.raises(DatasetError, match=r"a\.gz unpacks to too much"), open_gzip(path, max_bytes=10) as file:
        io.TextIOWrapper(file).read()
    path.write_bytes(path.read_bytes()[:-8] + bytes(8))
    with pytest.raises(gzip.BadGzipFile), open_gzip(path) as file:
        file.read()
