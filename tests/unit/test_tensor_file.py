"""Arrays in one file, read through a map, and readable by the package of the format."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from ragkit.errors import IndexCorruptError
from ragkit.index.tensor_file import Blocks, open_tensors, write_tensors

ARRAYS = {
    "bytes": np.arange(7, dtype=np.uint8),
    "wide": np.arange(5, dtype=np.int64) * 2**40,
    "rows": np.arange(12, dtype=np.float32).reshape(4, 3) / 7,
    "none": np.zeros((0, 3), dtype=np.float32),
}


def test_what_is_written_is_mapped_to_the_bit(tmp_path: Path) -> None:
    write_tensors(tmp_path / "a", ARRAYS, {"words": "中文"})
    file = open_tensors(tmp_path / "a")
    assert file.metadata == {"words": "中文"}
    assert list(file.tensors) == ["wide", "none", "rows", "bytes"]
    for name, array in ARRAYS.items():
        assert file.tensors[name].dtype == array.dtype
        assert file.tensors[name].tolist() == array.tolist()
        raw = (tmp_path / "a").read_bytes()[file.offsets[name] :][: array.nbytes]
        assert raw == array.tobytes()


def test_the_package_of_the_format_reads_the_file(tmp_path: Path) -> None:
    write_tensors(tmp_path / "a", ARRAYS, {})
    assert {name: array.tolist() for name, array in load_file(tmp_path / "a").items()} == {
        name: array.tolist() for name, array in ARRAYS.items()
    }


def test_blocks_give_the_same_bytes_as_the_whole(tmp_path: Path) -> None:
    rows = ARRAYS["rows"]
    write_tensors(tmp_path / "whole", {"rows": rows}, {})
    write_tensors(tmp_path / "blocks", {"rows": Blocks(rows.shape, rows.dtype, iter([rows[:3], rows[3:]]))}, {})
    assert (tmp_path / "whole").read_bytes() == (tmp_path / "blocks").read_bytes()


def test_blocks_that_do_not_add_up_are_refused(tmp_path: Path) -> None:
    rows = ARRAYS["rows"]
    with pytest.raises(ValueError, match="rows do not add up"):
        write_tensors(tmp_path / "a", {"rows": Blocks(rows.shape, rows.dtype, [rows[:3]])}, {})


def test_a_path_that_is_no_utf8_is_written_and_read(tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe"))
    write_tensors(path, ARRAYS, {})
    assert open_tensors(path).tensors["bytes"].tolist() == list(range(7))


@pytest.mark.parametrize("keep", [0, 4, 40, -1])
def test_a_file_that_was_cut_off_is_named(tmp_path: Path, keep: int) -> None:
    path = tmp_path / "cut"
    write_tensors(path, ARRAYS, {})
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(IndexCorruptError, match="cut"):
        open_tensors(path)


def test_a_header_that_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes((20).to_bytes(8, "little") + b"[1, 2, 3]           ")
    with pytest.raises(IndexCorruptError, match="damaged"):
        open_tensors(tmp_path / "a")
