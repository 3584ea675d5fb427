"""The machine that reads pickles: what it makes, and that it makes nothing else."""

import io
import pickle
from collections import OrderedDict

import numpy as np
import pytest
import torch

from pyg_kgtransfer.sources.plain_pickle import PlainUnpickler, RefusedPickleError


def read(content: bytes):
    storage = torch.arange(6)
    return PlainUnpickler(io.BytesIO(content), lambda key, dtype, count: storage).plain()


class Made:
    """Pickled as a call, and a state if there is one."""

    def __init__(self, function, given: tuple, state: object = None) -> None:
        self.function, self.given, self.state = function, given, state

    def __reduce__(self):
        return self.function, self.given, self.state


def dtype(code: str, state: tuple | None = (3, "<", None, None, None, -1, -1, 0)) -> Made:
    return Made(np.dtype, (code, False, True), state)


def array(shape: object, of: Made, content: object) -> Made:
    reconstruct = np.zeros(1).__reduce__()[0]
    return Made(reconstruct, (np.ndarray, (0,), b"b"), (1, shape, of, False, content))


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize(
    "saved",
    [np.arange(6, dtype=">i4").reshape(2, 3), np.zeros((0, 3)), np.array(["a", "bcd"]),
     np.array(7), np.float32(0.5), np.array([True, False]), np.arange(6).reshape(2, 3).T,
     {"a": [1, -(2**70), None, 0.5, (1, 2, 3, 4)], 3: b"x", True: bytes(300), "b": ()},
     OrderedDict(z=1, a="é" * 300), [list(range(2000))]],
)  # fmt: skip
def test_what_was_pickled_is_made_again(saved, protocol: int) -> None:
    found = read(pickle.dumps(saved, protocol))
    assert type(found) is type(saved)
    if isinstance(saved, np.ndarray):
        assert found.dtype.newbyteorder("=") == saved.dtype.newbyteorder("=")
        np.testing.assert_array_equal(found, saved)
    else:
        assert found == saved


@pytest.mark.parametrize(
    "saved",
    [array((3,), dtype("i8"), bytes(16)), array((1 << 40,), dtype("i8"), bytes(8)),
     array((-1,), dtype("i8"), bytes(8)), array([1], dtype("i8"), bytes(8)),
     array((1,), dtype("i8"), [1]), array((1,), np.int64(3), bytes(8)),
     array((1,), dtype("i8", (3, "|", None, ("f",), {}, 8, 1, 0)), bytes(8)),
     Made(np.zeros(1).__reduce__()[0], (np.ndarray, (0,), b"b")),
     Made(np.zeros(1).__reduce__()[0], (np.ndarray, (9,), b"b"))],
)  # fmt: skip
def test_arrays_that_do_not_fit_their_bytes_are_told(saved) -> None:
    with pytest.raises(pickle.UnpicklingError, match="it states"):
        read(pickle.dumps(saved, 4))


@pytest.mark.parametrize("code", ["O", "V8", "S0", "i8,i8", "M8", "i16777216", "U9999999"])
def test_arrays_of_other_types_are_refused(code: str) -> None:
    with pytest.raises(RefusedPickleError, match="only arrays of numbers and text"):
        read(pickle.dumps(array((1,), dtype(code), bytes(8)), 4))


def pickled_tensor(offset: object, size: object, stride: object) -> bytes:
    """As torch.save pickles a tensor of a storage "0" of 6 integers."""
    given = (b"?", offset, size, stride, False, OrderedDict())
    saved = pickle.dumps(Made(torch._utils._rebuild_tensor_v2, given), 3)
    start = saved.index(b"C\x01?")
    storage = b"(X\x07\0\0\0storagectorch\nLongStorage\nX\x01\0\0\x000X\x03\0\0\0cpuK\x06tQ"
    return saved[:start] + storage + saved[start + 3 :]


@pytest.mark.parametrize(
    ("offset", "size", "stride"),
    [(0, (7,), (1,)), (4, (3,), (1,)), (0, (2, 3), (1, 3)), (0, (9,), (0,)), (-1, (2,), (1,)),
     (0, (2,), (-1,)), (0, (1 << 70,), (1,)), (0, (2,), (1, 1)), (0, [2], (1,)), (6, (), ())],
)  # fmt: skip
def test_tensors_stay_within_their_storage(offset, size, stride) -> None:
    with pytest.raises(pickle.UnpicklingError, match="it states a tensor"):
        read(pickled_tensor(offset, size, stride))


def test_tensors_are_views_of_their_storage() -> None:
    found = read(pickled_tensor(1, (2, 2), (3, 1)))
    assert torch.equal(found, torch.tensor([[1, 2], [4, 5]]))
    assert read(pickled_tensor(0, (0, 3), (3, 1))).shape == (0, 3)
    assert read(pickled_tensor(5, (), ())).item() == 5


@pytest.mark.parametrize(
    "content",
    [b"\x80\x02]q\x00}h\x00Nu.", b"\x80\x02(K\x010.", b"\x80\x02c_codecs\nencode\n)\x81.",
     b"\x80\x02K\x01K\x02.", b"\x80\x04\x8f.", b"\x80\x02}(]Nu.", b"\x80\x02}((K\x01tK\x01u.",
     b"\x80\x02}(K\x01K\x02K\x01K\x02u.", b"\x80\x02NK\x01a.", b"\x80\x02K\x07)R.",
     b"c__builtin__\nlen\n.", b"\x80\x02(ios\nsystem\n.", b"\x80\x05\x97.", b"\x80\x02\x82\x01."],
)  # fmt: skip
def test_other_instructions_are_none(content: bytes) -> None:
    with pytest.raises((pickle.UnpicklingError, LookupError, RefusedPickleError, AttributeError)):
        read(content)


def test_what_is_named_is_a_word_that_nothing_can_be_set_on() -> None:
    found = read(pickle.dumps([OrderedDict, np.ndarray, np.dtype], 4))
    for each in found:
        assert not callable(each)
        with pytest.raises(AttributeError):
            each.name = "other"
