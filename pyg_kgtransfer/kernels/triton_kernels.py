"""The loops of ``triton_engine``: one program per row, sums in registers, nothing is atomic.

Imported where Triton is installed only. ``KIND``: 0 real, 1 complex, 2 complex with the second
factor conjugated; ``SUM``: the type of the sums.
"""

import triton
import triton.language as tl


@triton.jit
def csr_sum(offsets, columns, values, x, out, width, BLOCK: tl.constexpr, SUM: tl.constexpr):
    """out[row] = sum over the row's entries of value * x[column]."""
    row = tl.program_id(0).to(tl.int64)
    d = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = d < width
    total = tl.zeros([BLOCK], dtype=SUM)
    for entry in range(tl.load(offsets + row), tl.load(offsets + row + 1)):
        column = tl.load(columns + entry).to(tl.int64)
        numbers = tl.load(x + column * width + d, mask=inside, other=0.0).to(SUM)
        total += tl.load(values + entry).to(SUM) * numbers
    tl.store(out + row * width + d, total.to(out.dtype.element_ty), mask=inside)


@triton.jit
def product_sum(
    offsets, a, b, weights, first, second, out, size,
    BLOCK: tl.constexpr, SUM: tl.constexpr, KIND: tl.constexpr,
):  # fmt: skip
    """out[row] = sum over the row's edges of weight * first[a] * second[b]; size: D, or D / 2."""
    row = tl.program_id(0).to(tl.int64)
    d = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = d < size
    width = size if KIND == 0 else 2 * size
    real = tl.zeros([BLOCK], dtype=SUM)
    imaginary = tl.zeros([BLOCK], dtype=SUM)
    for edge in range(tl.load(offsets + row), tl.load(offsets + row + 1)):
        x = first + tl.load(a + edge).to(tl.int64) * width + d
        z = second + tl.load(b + edge).to(tl.int64) * width + d
        weight = tl.load(weights + edge).to(SUM)
        x_re = weight * tl.load(x, mask=inside, other=0.0).to(SUM)
        z_re = tl.load(z, mask=inside, other=0.0).to(SUM)
        if KIND == 0:
            real += x_re * z_re
        else:
            x_im = weight * tl.load(x + size, mask=inside, other=0.0).to(SUM)
            z_im = tl.load(z + size, mask=inside, other=0.0).to(SUM)
            if KIND == 2:
                z_im = -z_im
            real += x_re * z_re - x_im * z_im
            imaginary += x_re * z_im + x_im * z_re
    place = out + row * width + d
    tl.store(place, real.to(out.dtype.element_ty), mask=inside)
    if KIND != 0:
        tl.store(place + size, imaginary.to(out.dtype.element_ty), mask=inside)


@triton.jit
def csr_dots(rows, columns, left, right, out, width, BLOCK: tl.constexpr, SUM: tl.constexpr):
    """out[entry] = left[row] . right[column]; one program per entry."""
    entry = tl.program_id(0).to(tl.int64)
    d = tl.arange(0, BLOCK)
    inside = d < width
    x = left + tl.load(rows + entry).to(tl.int64) * width + d
    y = right + tl.load(columns + entry).to(tl.int64) * width + d
    numbers = tl.load(x, mask=inside, other=0.0).to(SUM) * tl.load(y, mask=inside, other=0.0)
    tl.store(out + entry, tl.sum(numbers.to(SUM)).to(out.dtype.element_ty))


@triton.jit
def product_dots(
    rows, a, b, left, first, second, out, size,
    BLOCK: tl.constexpr, SUM: tl.constexpr, KIND: tl.constexpr,
):  # fmt: skip
    """out[edge] = left[row] . (first[a] second[b]); one program per edge."""
    edge = tl.program_id(0).to(tl.int64)
    d = tl.arange(0, BLOCK)
    inside = d < size
    width = size if KIND == 0 else 2 * size
    g = left + tl.load(rows + edge).to(tl.int64) * width + d
    x = first + tl.load(a + edge).to(tl.int64) * width + d
    z = second + tl.load(b + edge).to(tl.int64) * width + d
    g_re = tl.load(g, mask=inside, other=0.0).to(SUM)
    x_re = tl.load(x, mask=inside, other=0.0).to(SUM)
    z_re = tl.load(z, mask=inside, other=0.0).to(SUM)
    total = g_re * x_re * z_re
    if KIND != 0:
        g_im = tl.load(g + size, mask=inside, other=0.0).to(SUM)
        x_im = tl.load(x + size, mask=inside, other=0.0).to(SUM)
        z_im = tl.load(z + size, mask=inside, other=0.0).to(SUM)
        if KIND == 2:
            z_im = -z_im
        total += g_im * (x_re * z_im + x_im * z_re) - g_re * x_im * z_im
    tl.store(out + edge, tl.sum(total).to(out.dtype.element_ty))
