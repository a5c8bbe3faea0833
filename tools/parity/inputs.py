"""Inputs that other programs can make again from their names.

A tensor is named "case/tensor". Its seed is the 64-bit FNV-1a hash of "SEED/case/tensor"; its i-th number comes from
splitmix64, all in 64-bit wrap-around arithmetic:

    z = seed + (i + 1) * 0x9e3779b97f4a7c15
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9
    z = (z ^ z >> 27) * 0x94d049bb133111eb
    z = z ^ z >> 31

The sum of z's four 16-bit parts, less 131070, is nearly normal with a standard deviation of 37837. Its product with
float32(spread / 37837), plus float32(bias), each rounded to float32 and then to the tensor's type, is the value.
"""

import numpy
import torch

TYPES = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}


def hash_name(text):
    h = 0xCBF29CE484222325
    for byte in text.encode():
        h = (h ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return h


def numbers(name, count):
    """The 64-bit numbers of a name."""
    seed = numpy.uint64(hash_name(name))
    with numpy.errstate(over="ignore"):
        z = seed + numpy.arange(1, count + 1, dtype=numpy.uint64) * numpy.uint64(0x9E3779B97F4A7C15)
        z = (z ^ z >> numpy.uint64(30)) * numpy.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ z >> numpy.uint64(27)) * numpy.uint64(0x94D049BB133111EB)
        return z ^ z >> numpy.uint64(31)


def values(name, shape, kind, spread=1.0, bias=0.0):
    """A tensor of nearly normal values, on the CPU."""
    z = numbers(name, int(numpy.prod(shape)))
    parts = sum((z >> numpy.uint64(shift) & numpy.uint64(0xFFFF)).astype(numpy.int32) for shift in (0, 16, 32, 48))
    out = (parts - 131070).astype(numpy.float32) * numpy.float32(spread / 37837) + numpy.float32(bias)
    return torch.from_numpy(out.reshape(shape)).to(TYPES[kind])


def below(name, shape, limit):
    """A tensor of integers in [0, limit): the top 32 bits, scaled."""
    z = numbers(name, int(numpy.prod(shape))) >> numpy.uint64(32)
    return torch.from_numpy((z * numpy.uint64(limit) >> numpy.uint64(32)).astype(numpy.int64).reshape(shape))
