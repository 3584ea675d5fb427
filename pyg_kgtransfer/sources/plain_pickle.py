"""Pickles of arrays, tensors and plain containers, read by a machine that can do nothing else."""

import math
import pickle
import re
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import IO, Any, ClassVar, NoReturn

import numpy as np
import torch

Storages = Callable[[str, torch.dtype, int], torch.Tensor]  # key, type, count -> [count]
Array = np.ndarray[Any, Any]


class RefusedPickleError(ValueError):
    """A file asks for something other than arrays, tensors and plain containers."""


@dataclass(frozen=True, slots=True)
class _Maker:
    """What a pickle may call, as an inert word."""

    name: str


@dataclass(frozen=True, slots=True)
class _Numbers:
    """A type of storage, as an inert word."""

    dtype: torch.dtype


class _DType:
    """A type of array as it is stated: a code, then a byte order."""

    __slots__ = ("code", "order")

    def __init__(self, code: str) -> None:
        self.code, self.order = code, ""

    def type(self) -> "np.dtype[Any]":
        return np.dtype(self.order + self.code)


_MAKERS: Mapping[tuple[str, str], str] = MappingProxyType(
    {
        ("collections", "OrderedDict"): "ordered dict",
        ("_codecs", "encode"): "bytes",
        ("__builtin__", "bytes"): "no bytes",
        ("torch._utils", "_rebuild_tensor_v2"): "tensor",
        ("numpy", "ndarray"): "array type",
        ("numpy", "dtype"): "dtype",
        **{
            (f"numpy.{core}.{module}", name): maker
            for core in ("core", "_core")  # NumPy 1 and 2
            for module, name, maker in (
                ("multiarray", "_reconstruct", "empty array"),
                ("multiarray", "scalar", "scalar"),
                ("numeric", "_frombuffer", "array"),
            )
        },
    }
)
_STORAGES: Mapping[str, torch.dtype] = MappingProxyType(
    {
        "DoubleStorage": torch.float64,
        "FloatStorage": torch.float32,
        "HalfStorage": torch.float16,
        "BFloat16Storage": torch.bfloat16,
        "LongStorage": torch.int64,
        "IntStorage": torch.int32,
        "ShortStorage": torch.int16,
        "CharStorage": torch.int8,
        "ByteStorage": torch.uint8,
        "BoolStorage": torch.bool,
    }
)
_DTYPE = re.compile(r"b1|[iufc](1|2|4|8|16)|[SU][1-9][0-9]{0,5}")
_KEYS = frozenset({str, int, float, bool, bytes, type(None)})  # hashed without recursion
_OPCODES = b"".join(
    (
        pickle.PROTO, pickle.FRAME, pickle.STOP, pickle.MARK, pickle.NONE, pickle.NEWTRUE,
        pickle.NEWFALSE, pickle.BININT, pickle.BININT1, pickle.BININT2, pickle.LONG1, pickle.LONG4,
        pickle.BINFLOAT, pickle.BINUNICODE, pickle.SHORT_BINUNICODE, pickle.BINUNICODE8,
        pickle.BINBYTES, pickle.SHORT_BINBYTES, pickle.BINBYTES8, pickle.EMPTY_LIST,
        pickle.EMPTY_TUPLE, pickle.TUPLE, pickle.TUPLE1, pickle.TUPLE2, pickle.TUPLE3,
        pickle.EMPTY_DICT, pickle.BINPUT, pickle.LONG_BINPUT, pickle.MEMOIZE, pickle.BINGET,
        pickle.LONG_BINGET, pickle.GLOBAL, pickle.STACK_GLOBAL, pickle.BINPERSID,
    )
)  # fmt: skip


class PlainUnpickler(pickle._Unpickler):
    """Reads one pickle of protocol 2 to 5.

    It is the machine of the standard library that is written in Python, without most of its
    instructions: what a pickle names is a word and no object of this process, called only by the
    functions below, and a state is given only to an array or a type that this pickle has made.
    (The one written in C has no table of instructions to choose from.) Arrays of protocol 5 cannot
    be written to.

    Args:
        stream: Where the pickle begins; it must not allocate what it does not have.
        storages: Gives the numbers of tensors.

    Example:
        >>> import io
        >>> saved = io.BytesIO(pickle.dumps({"head": np.array([3, 1])}, 4))
        >>> PlainUnpickler(saved).plain()["head"].tolist()
        [3, 1]
    """

    def __init__(self, stream: IO[bytes], storages: Storages | None = None) -> None:
        super().__init__(stream)
        self.storages = storages
        self.stack: list[Any] = []
        self.unfinished: dict[int, Array] = {}

    def plain(self) -> Any:
        """What was pickled.

        Raises:
            RefusedPickleError: If something else is named.
            Exception: Of many a type if it is damaged; ``read_saved`` tells all of them in words.
        """
        found = self.load()
        if self.unfinished:
            _wrong("an array without content")
        if self.stack or self.metastack:  # type: ignore[attr-defined]
            _wrong("more than one object")
        return found

    def find_class(self, module: str, name: str) -> Any:
        """The word for what a pickle names."""
        if module == "torch" and name in _STORAGES:
            return _Numbers(_STORAGES[name])
        if (module, name) not in _MAKERS:
            raise RefusedPickleError(
                f"it asks for {module}.{name}, and only arrays, tensors and plain containers are "
                "read from a file that may come from anywhere"
            )
        return _Maker(_MAKERS[module, name])

    def persistent_load(self, pid: Any) -> torch.Tensor:
        """The numbers of a tensor."""
        if type(pid) is not tuple or len(pid) not in (5, 6) or pid[5:] not in ((), (None,)):
            _wrong("what is no storage")
        word, numbers, key, _, count = pid[:5]
        if word != "storage" or not isinstance(numbers, _Numbers) or self.storages is None:
            _wrong("what is no storage")
        if type(key) is not str or type(count) is not int or count < 0:
            _wrong("a storage without a name or size")
        return self.storages(key, numbers.dtype, count)

    def _reduce(self) -> None:
        given = self.stack.pop()
        maker = self.stack[-1]
        if not isinstance(maker, _Maker) or type(given) is not tuple:
            _wrong("a call of what is no function")
        match maker.name, given:
            case "ordered dict", ():
                made: Any = OrderedDict()
            case "bytes", (str(text), "latin1"):
                made = text.encode("latin1")
            case "bytes", _:
                raise RefusedPickleError("bytes must be stated in latin1")
            case "no bytes", ():
                made = b""
            case "dtype", (str(code), *_):
                made = _DType(_checked(code))
            case "empty array", (_Maker(name="array type"), (0,), b"b"):
                made = np.zeros(0, np.int8)
                self.unfinished[id(made)] = made
            case "array", (bytes(content), _DType() as dtype, shape, "C" | "F" as order):
                made = np.ndarray(
                    _fitting(shape, dtype, content), dtype.type(), content, 0, order=order
                )
            case "scalar", (_DType() as dtype, bytes(content)):
                made = np.ndarray(_fitting((), dtype, content), dtype.type(), content)[()]
            case "tensor", (torch.Tensor() as numbers, offset, size, stride, *_):
                made = _tensor(numbers, offset, size, stride)
            case _:
                _wrong(f"a call of {maker.name} with something else")
        self.stack[-1] = made

    def _build(self) -> None:
        state = self.stack.pop()
        made = self.stack[-1]
        match made, state:
            case _DType(order=""), (3, "<" | ">" | "|" as order, None, None, None, *_):
                made.order = order
            case np.ndarray(), (1, shape, _DType() as dtype, bool(is_fortran), bytes(content)):
                if self.unfinished.pop(id(made), None) is None:
                    _wrong("a second state of an array")
                shape = _fitting(shape, dtype, content)
                made.__setstate__((1, shape, dtype.type(), is_fortran, content))  # type: ignore[arg-type]
            case _:
                _wrong("a state of what has none")

    def _append(self) -> None:
        self._extend([self.stack.pop()])

    def _appends(self) -> None:
        self._extend(self.pop_mark())  # type: ignore[attr-defined]

    def _extend(self, items: list[Any]) -> None:
        if type(self.stack[-1]) is not list:
            _wrong("entries of what is no list")
        self.stack[-1].extend(items)

    def _set_item(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._update([key, value])

    def _set_items(self) -> None:
        self._update(self.pop_mark())  # type: ignore[attr-defined]

    def _update(self, items: list[Any]) -> None:
        filled, keys, values = self.stack[-1], items[::2], items[1::2]
        if not isinstance(filled, dict) or not set(map(type, keys)) <= _KEYS:
            _wrong("entries of what is no dict, or without a name")
        wanted = len(filled) + len(keys)
        filled.update(zip(keys, values, strict=True))
        if len(filled) != wanted:
            _wrong("two entries of one name")

    dispatch: ClassVar[dict[int, Any]] = {
        **{code: pickle._Unpickler.dispatch[code] for code in _OPCODES},
        pickle.BYTEARRAY8[0]: pickle._Unpickler.dispatch[pickle.BINBYTES8[0]],
        pickle.REDUCE[0]: _reduce,
        pickle.BUILD[0]: _build,
        pickle.APPEND[0]: _append,
        pickle.APPENDS[0]: _appends,
        pickle.SETITEM[0]: _set_item,
        pickle.SETITEMS[0]: _set_items,
    }


def _wrong(what: str) -> NoReturn:
    raise pickle.UnpicklingError(f"it states {what}")


def _checked(code: str) -> str:
    if not _DTYPE.fullmatch(code):
        raise RefusedPickleError(f"only arrays of numbers and text are read (got type {code!r})")
    return code


def _fitting(shape: Any, dtype: _DType, content: bytes) -> tuple[int, ...]:
    """The shape of an array, if its content has as many bytes as that takes."""
    if not _are_sizes(shape) or math.prod(shape) * dtype.type().itemsize != len(content):
        _wrong(f"an array of {len(content):,} bytes whose shape and type take another number")
    return tuple(shape)


def _tensor(numbers: torch.Tensor, offset: Any, size: Any, stride: Any) -> torch.Tensor:
    """A view of a storage that lies within it, and has no more entries than it."""
    if not (_are_sizes(size) and _are_sizes(stride) and _are_sizes((offset,))):
        _wrong("a tensor without a shape")
    if len(size) != len(stride) or numbers.ndim != 1:
        _wrong("a tensor whose shape does not fit its strides")
    if 0 in size:
        return numbers.new_empty(size)
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if last >= len(numbers) or math.prod(size) > len(numbers):
        _wrong(f"a tensor that reaches beyond its {len(numbers):,} numbers")
    return numbers.as_strided(size, stride, offset)


def _are_sizes(given: Any) -> bool:
    """Whether it is a tuple of numbers from 0."""
    return type(given) is tuple and all(type(n) is int and 0 <= n < 1 << 62 for n in given)
