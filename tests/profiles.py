"""ICC profiles by hand, and one of a wide gamut."""

import struct

import numpy as np


def icc_profile(space, tags, pcs=b"XYZ "):
    """A version 2 profile (ICC.1:2001-04, 6.1 and 6.2): header, tag table, tags."""
    blocks, table, position = b"", b"", 128 + 4 + 12 * len(tags)
    for name, body in tags.items():
        body += b"\0" * (-len(body) % 4)
        table += name + struct.pack(">II", position + len(blocks), len(body))
        blocks += body
    header = struct.pack(
        ">I4sI4s4s4s12s4s", position + len(blocks), b"none", 0x02400000, b"mntr", space, pcs,
        bytes(12), b"acsp",
    )  # fmt: skip
    header = header.ljust(68, b"\0") + struct.pack(">3I", 0xF6D6, 0x10000, 0xD32D)
    return header.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + blocks


def xyz_tag(values):
    return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(v * 65536) for v in values))


def curve_tag(table):
    return b"curv\0\0\0\0" + struct.pack(">I", len(table)) + np.array(table, ">u2").tobytes()


WHITE_D50 = (0.9642, 1.0, 0.8249)
# Columns are the primaries adapted to D50, as in the profiles that Adobe and HP published.
ADOBE_RGB = np.array([[0.60974, 0.20528, 0.14919], [0.31111, 0.62567, 0.06322],
                      [0.01947, 0.06087, 0.74457]])  # fmt: skip
SRGB = np.array([[0.43607, 0.38515, 0.14307], [0.22249, 0.71687, 0.06061],
                 [0.01392, 0.09708, 0.71410]])  # fmt: skip
GAMMA = 563 / 256


def rgb_profile(matrix, curve):
    primaries = {name: xyz_tag(matrix[:, i]) for i, name in enumerate((b"rXYZ", b"gXYZ", b"bXYZ"))}
    curves = dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve_tag(curve))
    return icc_profile(b"RGB ", {b"wtpt": xyz_tag(WHITE_D50), **primaries, **curves})


ADOBE_PROFILE = rgb_profile(ADOBE_RGB, [563])  # one entry: gamma in 1/256
