"""Reads the pixels of our own pictures: eight-bit colour PNG without interlacing."""

import struct
import zlib
from dataclasses import dataclass

BLACK = (0, 0, 0)
ALARM = (0xB3, 0x26, 0x1E)


@dataclass(frozen=True, slots=True)
class Picture:
    """Rows of red, green, blue and alpha bytes."""

    width: int
    height: int
    rows: list[bytes]

    def pixel(self, x: int, y: int) -> tuple[int, int, int]:
        """Return the colour at a place."""
        red, green, blue = self.rows[y][4 * x : 4 * x + 3]
        return red, green, blue

    def places_of(self, colour: tuple[int, int, int]) -> list[tuple[int, int]]:
        """Return every place that has exactly this colour."""
        wanted = bytes((*colour, 255))
        return [
            (x, y)
            for y, row in enumerate(self.rows)
            if wanted in row
            for x in range(self.width)
            if row[4 * x : 4 * x + 4] == wanted
        ]


def read_png(content: bytes, *, rows: int | None = None) -> Picture:
    """Return the picture, or its first rows."""
    width, height, depth, kind = struct.unpack_from(">IIBB", content, 16)
    assert (depth, kind) == (8, 6)
    packed, position = b"", 8
    while position < len(content):
        (length,) = struct.unpack_from(">I", content, position)
        if content[position + 4 : position + 8] == b"IDAT":
            packed += content[position + 8 : position + 8 + length]
        position += length + 12
    return Picture(width, height, _unfilter(zlib.decompress(packed), 4 * width, rows or height))


def _unfilter(lines: bytes, stride: int, count: int) -> list[bytes]:
    rows = []
    above = bytes(stride)
    for number in range(count):
        start = number * (stride + 1)
        row = bytearray(lines[start + 1 : start + 1 + stride])
        method = lines[start]
        if method == 2:
            row = bytearray((a + b) & 255 for a, b in zip(row, above, strict=True))
        elif method:
            for index in range(stride):
                left, corner = (row[index - 4], above[index - 4]) if index >= 4 else (0, 0)
                row[index] = (row[index] + _guess(method, left, above[index], corner)) & 255
        rows.append(bytes(row))
        above = bytes(row)
    return rows


def _guess(method: int, left: int, up: int, corner: int) -> int:
    if method == 1:
        return left
    if method == 3:
        return (left + up) // 2
    estimate = left + up - corner
    return min((left, up, corner), key=lambda value: abs(estimate - value))
