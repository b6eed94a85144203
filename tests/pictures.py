"""A small picture, and files of it."""

import io
import struct
import zlib

import numpy as np
from PIL import Image


def picture(height=23, width=31, seed=0):
    """Smooth colours and one hard edge, uint8 [H, W, 3]."""
    y, x = np.mgrid[0:height, 0:width].astype(float)
    phases = np.random.default_rng(seed).uniform(0, 6, 3)
    waves = [np.sin(x / 5 + p) * np.cos(y / 7 - p) for p in phases]
    array = np.uint8(np.clip(np.stack(waves, -1) * 110 + 128, 0, 255))
    array[: height // 3, : width // 4] = (250, 10, 60)
    return array


def encoded(array, format, mode=None, **options):
    image = Image.fromarray(array)
    file = io.BytesIO()
    (image.convert(mode) if mode else image).save(file, format, **options)
    return file.getvalue()


def chunk(name, body):
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
