"""Style images that are drawn here: swirls, mosaic, woodcut."""

import math
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from tfstyle import images
from tfstyle.errors import ArgumentError

STYLES = ("swirls", "mosaic", "woodcut")
_MIN_SIZE, _MAX_SIZE = 16, 2048


def write_styles(folder: Path, name: str, *, count: int = 8, size: int = 512) -> Path:
    """Draws `count` images in the style `name`, with the seeds 0, 1, ..., as PNG; returns `folder`.

    Images that are there already stay as they are.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for seed in range(count):
        path = folder / f"{name}_{seed}.png"
        if not path.exists():
            images.write(path, style(name, size, seed))
    return folder


def style(name: str = "swirls", size: int = 512, seed: int = 0) -> np.ndarray:
    """A style image drawn by code: float32 RGB [size, size, 3] in [0, 1].

    The same name, size and seed give the same image; another seed gives another composition in the
    same style. "swirls": impasto brush strokes along a whirling flow; "mosaic": stained glass in
    lead; "woodcut": hills and a sun cut in parallel lines, printed in few inks.

    Raises ValueError for a name that is not in STYLES or a size outside 16..2048 px.
    """
    draw = {"swirls": _swirls, "mosaic": _mosaic, "woodcut": _woodcut}.get(name)
    if draw is None:
        raise ArgumentError(f"style {name!r}: nothing draws it. Give one of {list(STYLES)}")
    if not _MIN_SIZE <= size <= _MAX_SIZE:
        raise ArgumentError(f"size {size}: give {_MIN_SIZE} to {_MAX_SIZE} pixels")
    image = draw(size, np.random.default_rng(seed))
    return np.clip(image, 0, 1).astype(np.float32)


def _inks(*codes: str) -> np.ndarray:
    """Hex colours -> float32 [N, 3] in [0, 1]."""
    return np.array([list(bytes.fromhex(code)) for code in codes], np.float32) / 255


def _ramp(inks: np.ndarray, position: np.ndarray) -> np.ndarray:
    """Colours at `position` in [0, 1] along the inks, interpolated: [...] -> [..., 3]."""
    stops = np.linspace(0, 1, len(inks))
    return np.stack([np.interp(position, stops, inks[:, c]) for c in range(3)], -1)


class _Waves:
    """A smooth random field on the plane: a sum of plane waves with random directions and phases.

    `lengths` are the shortest and longest wavelength in units of the image's side; longer waves are
    stronger. Values lie mostly in [-1, 1].
    """

    def __init__(self, rng: np.random.Generator, count: int, lengths: tuple[float, float]) -> None:
        # Scalars of float32 keep whole images in float32.
        length = np.geomspace(*lengths, count, dtype=np.float32)
        angle = rng.uniform(0, 2 * np.pi, count).astype(np.float32)
        direction = np.stack([np.cos(angle), np.sin(angle)], -1)
        self.k = np.float32(2 * np.pi) / length[:, None] * direction
        self.phase = rng.uniform(0, 2 * np.pi, count).astype(np.float32)
        self.amplitude = length / np.sqrt((length**2).sum())

    def __call__(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        total: Any = 0
        for (kx, ky), phase, amplitude in zip(self.k, self.phase, self.amplitude, strict=True):
            total = total + amplitude * np.sin(kx * x + ky * y + phase)
        return total

    def gradient(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        dx: Any = 0
        dy: Any = 0
        for (kx, ky), phase, amplitude in zip(self.k, self.phase, self.amplitude, strict=True):
            slope = amplitude * np.cos(kx * x + ky * y + phase)
            dx, dy = dx + kx * slope, dy + ky * slope
        return dx, dy


# (strokes, half width, length, bristles), widths and lengths in units of the image's side: the
# ground first, fine accents last.
_STROKES = (
    (560, 0.026, 0.26, 10),
    (700, 0.016, 0.17, 8),
    (700, 0.009, 0.11, 5),
    (280, 0.004, 0.07, 2),
)


def _swirls(size: int, rng: np.random.Generator) -> np.ndarray:
    inks = _inks(
        "141a45", "20378c", "2c66b8", "2f9db0", "8cc9ab", "f4e9c3", "f5bd3c", "e8722c", "a92b37"
    )  # fmt: skip
    stream = _Waves(rng, 14, (0.35, 1.6))
    whirls = rng.uniform(0.12, 0.88, (5, 2))
    spread = rng.uniform(0.08, 0.16, 5)
    turn = rng.choice([-1.0, 1.0], 5) * rng.uniform(1.0, 1.7, 5)

    def potential(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        bumps = sum(
            t * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * s * s))
            for (cx, cy), s, t in zip(whirls, spread, turn, strict=True)
        )
        return stream(x, y) + bumps

    def flow(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        dx, dy = stream.gradient(x, y)
        for (cx, cy), s, t in zip(whirls, spread, turn, strict=True):
            pull = -t / (s * s) * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * s * s))
            dx, dy = dx + pull * (x - cx), dy + pull * (y - cy)
        # Curl: along the lines of equal potential, at unit speed.
        speed = np.hypot(dx, dy) + 1e-6
        return -dy / speed, dx / speed

    scale = 2 * size
    canvas = Image.new("RGBA", (scale, scale), tuple((inks[1] * 255).astype(np.uint8)) + (90,))
    pen = ImageDraw.Draw(canvas)
    for layer, (count, half_width, length, bristles) in enumerate(_STROKES):
        points, step = 20, length / 20
        x, y = rng.uniform(-0.03 - length / 2, 1.03 + length / 2, (2, count))
        # The eyes of the whirls, which strokes leave, are painted on purpose.
        x[-20:], y[-20:] = whirls.repeat(4, 0).T + rng.normal(0, 0.008, (2, 20))
        ways: list[list[np.ndarray]] = [[], [], [], []]
        u: Any = 0
        v: Any = 0
        for _ in range(points):
            # A hand has inertia: without it strokes kink where the flow stands still.
            du, dv = flow(x + u * step / 2, y + v * step / 2)
            u, v = u + 3 * du, v + 3 * dv
            u, v = u / np.hypot(u, v), v / np.hypot(u, v)
            for way, value in zip(ways, (x, y, u, v), strict=True):
                way.append(value)
            x, y = x + u * step, y + v * step
        xs, ys, us, vs = ways
        path = np.stack([xs, ys], -1).transpose(1, 0, 2)  # [count, points, 2]
        normal = np.stack([-np.array(vs), np.array(us)], -1).transpose(1, 0, 2)
        middle = path[:, points // 2]
        level = potential(middle[:, 0], middle[:, 1]) + rng.normal(0, 0.07, count)
        colour = _ramp(inks, 0.5 - 0.5 * np.cos(np.pi * (level * 1.35 + 0.25)))
        colour = colour * rng.normal(1, 0.12, (count, 1)) + rng.normal(0, 0.02, (count, 3))
        if layer == 3:
            colour = 0.2 * colour + 0.8 * inks[rng.choice([0, 5, 6], count)]
        # The brush lands round, is pressed, and leaves in a point.
        along = np.linspace(0, 1, points)
        press = half_width * np.minimum(1, np.sqrt(along * 7 + 0.02)) * (1 - along**3) ** 0.5
        edges = np.linspace(-1, 1, bristles + 1)
        body = rng.integers(70, 150, count)
        for i in range(count):
            wobble = edges + rng.normal(0, 0.25 / bristles, bristles + 1)
            sides = path[i] + (wobble[:, None] * press)[..., None] * normal[i]
            sides = sides * scale
            for j in range(bristles):
                shade = colour[i] * rng.normal(1, 0.09) * 255
                ridge = body[i] + 70 * math.cos(wobble[j] * 1.4) + rng.normal(0, 22)
                fill = (*np.clip(shade, 0, 255).astype(int), int(np.clip(ridge, 0, 255)))
                outline = np.concatenate([sides[j], sides[j + 1][::-1]])
                pen.polygon(outline.ravel().tolist(), fill=fill)
    # The alpha channel served as the height of the paint.
    height = canvas.getchannel("A").filter(ImageFilter.GaussianBlur(0.0011 * scale))
    colour = np.asarray(canvas.convert("RGB"), np.float32) / 255
    return _average(_light(colour, np.asarray(height, np.float32) / 255, 0.022 * scale), 2)


def _light(colour: np.ndarray, height: np.ndarray, depth: float) -> np.ndarray:
    """Oil paint under a lamp at the upper left: colour [H, W, 3], height [H, W] in [0, 1]."""
    dy, dx = np.gradient(height)
    facing = np.clip((dx + dy) * depth, -1.5, 1.5)[..., None]
    return colour * (1 + 0.22 * facing) + 0.05 * np.maximum(facing, 0) ** 2


def _average(image: np.ndarray, factor: int) -> np.ndarray:
    """[factor H, factor W, 3] -> [H, W, 3]: the mean of factor x factor pixels."""
    height, width = image.shape[0] // factor, image.shape[1] // factor
    return image.reshape(height, factor, width, factor, 3).mean((1, 3))


def _mosaic(size: int, rng: np.random.Generator) -> np.ndarray:
    inks = _inks("0d2a57", "1a5fa3", "1f9aa3", "8cc98f", "f7de8a", "f2992e", "d4382a", "7a1b4c")
    factor = 2
    scale = factor * size
    x, y = _grid(scale)
    tint, crowding = _Waves(rng, 6, (0.5, 1.4)), _Waves(rng, 4, (0.5, 1.2))
    # Best-candidate sampling, in a wider frame than the image so that its border cells are whole:
    # each new seed is the one of 24 that lies furthest from the others.
    seeds = rng.uniform(-0.15, 1.15, (1, 2))
    while len(seeds) < 330:
        candidates = rng.uniform(-0.15, 1.15, (24, 2))
        room = np.linalg.norm(candidates[:, None] - seeds, axis=-1).min(1)
        room = room * (1 + 0.35 * crowding(*candidates.T))
        seeds = np.concatenate([seeds, candidates[[room.argmax()]]])

    glass = Image.new("L", (scale, scale))
    cells = Image.new("I", (scale, scale))
    for i in range(len(seeds)):
        outline = _cell(seeds, i, inset=0.0)
        if len(outline):
            ImageDraw.Draw(cells).polygon((outline * scale).ravel().tolist(), fill=i)
            outline = _cell(seeds, i, inset=0.0042)
            ImageDraw.Draw(glass).polygon((outline * scale).ravel().tolist(), fill=255)
    # Blurred and cut at one half, the panes get the round corners of glass set in lead.
    soft = np.asarray(glass.filter(ImageFilter.GaussianBlur(0.004 * scale)), np.float32) / 255
    pane = np.clip((soft - 0.5) * max(1, 0.008 * scale) + 0.5, 0, 1)[..., None]
    deep = np.asarray(glass.filter(ImageFilter.GaussianBlur(0.016 * scale)), np.float32) / 255

    cell = np.asarray(cells)
    level = 0.5 + 0.62 * tint(*seeds.T) + rng.normal(0, 0.1, len(seeds))
    colour = _ramp(inks, np.clip(level, 0, 1)) * rng.normal(1, 0.1, (len(seeds), 1))
    # Each pane has a grain of its own: streaks across it and a fall from light to dark.
    angle = rng.uniform(0, np.pi, len(seeds))
    pull = rng.uniform(1.5, 4.5, (len(seeds), 1)) * np.stack([np.cos(angle), np.sin(angle)], -1)
    away_x, away_y = x - seeds[cell, 0], y - seeds[cell, 1]
    along = away_x * pull[cell, 0] + away_y * pull[cell, 1]
    grain = _Waves(rng, 5, (0.02, 0.11))(x + 0.5 * along, y - 0.8 * along)
    shine = 0.60 + 0.55 * deep + 1.1 * along + 0.06 * grain
    light = colour[cell] * shine[..., None] + 0.10 * np.maximum(shine - 0.95, 0)[..., None]

    lead = _light(np.full_like(light, 0.13), 1 - soft, 0.012 * scale)
    return _average(lead * (1 - pane) + light * pane, factor)


def _cell(seeds: np.ndarray, index: int, inset: float) -> np.ndarray:
    """The Voronoi cell of one seed, its sides moved inwards by `inset`: corners [N, 2]."""
    seed = seeds[index]
    corners = seed + np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * 0.25
    away = seeds - seed
    distance = np.linalg.norm(away, axis=-1)
    for other in np.argsort(distance)[1:40]:
        towards = away[other] / distance[other]
        beyond = (corners - seed) @ towards - (distance[other] / 2 - inset)
        if (beyond <= 0).all():
            continue
        kept = []
        for here, there, d, e in zip(
            corners, np.roll(corners, -1, 0), beyond, np.roll(beyond, -1), strict=True
        ):
            if d <= 0:
                kept.append(here)
            if (d <= 0) != (e <= 0):
                kept.append(here + (there - here) * d / (d - e))
        corners = np.array(kept)
        if not kept:
            break
    return corners


def _woodcut(size: int, rng: np.random.Generator) -> np.ndarray:
    paper, dark, blue, red, gold = _inks("f3e8cf", "1d2540", "2f6f8f", "c8442f", "e3a63c")
    factor = 2
    scale = factor * size
    x, y = _grid(scale)
    sharp = scale / 1.5  # of an edge: its width is 1.5 pixels of the canvas
    grain = _Waves(rng, 6, (0.02, 0.3))(x, 4 * y)

    def ink(canvas: np.ndarray, colour: np.ndarray, cover: np.ndarray) -> np.ndarray:
        return canvas + np.clip(cover, 0, 1)[..., None] * (colour - canvas)

    def lines(distance: np.ndarray, pitch: float, share: float | np.ndarray) -> np.ndarray:
        """1 on parallel lines at each `pitch` of `distance`, which cover `share` of the surface."""
        off = np.abs((distance / pitch + 0.5) % 1 - 0.5) * pitch
        return np.clip((share * pitch / 2 - off) * sharp + 0.5, 0, 1)

    # Sky: rays round the sun, cut thinner the further they are.
    sun_x, sun_y, radius = rng.uniform(0.25, 0.75), rng.uniform(0.2, 0.3), rng.uniform(0.1, 0.13)
    reach = np.hypot(x - sun_x, y - sun_y)
    sky = lines(reach + 0.004 * grain, 0.021, 0.66 - 0.4 * reach + 0.12 * grain)
    image = ink(np.broadcast_to(paper, (scale, scale, 3)).astype(np.float32), gold, sky)
    disc = (radius - reach) * sharp + 0.5
    image = ink(image, red, disc)
    image = ink(image, paper, np.minimum(disc, lines(y + 0.003 * grain, 0.02, 0.22)))

    # Hills from the back to the front, their lines along the ridge and bolder in front.
    hills = 7
    for hill in range(hills):
        near = hill / (hills - 1)
        base = 0.36 + 0.56 * near**0.9
        outline = _Waves(rng, 5, (0.22, 0.9))
        ridge = base + (0.075 - 0.02 * near) * outline(x, 0 * x + hill)
        depth = y - ridge
        ground = (paper, gold, paper, red)[hill % 4]
        cut = (blue, dark, red, dark)[hill % 4]
        image = ink(image, ground, depth * sharp)
        shade = 0.5 + 0.28 * outline(x + 0.1, y + hill) + 0.16 * grain
        pitch = 0.011 + 0.010 * near
        bend = depth + 0.02 * outline(x + 2 * y, 3 * y + hill)
        image = ink(image, cut, np.minimum(lines(bend, pitch, shade), depth * sharp))
        image = ink(image, dark, (0.0045 + 0.003 * near - np.abs(depth)) * sharp + 0.5)
    # Ink does not take everywhere.
    return _average(image + 0.02 * grain[..., None], factor)


def _grid(scale: int) -> tuple[np.ndarray, np.ndarray]:
    """Pixel centres of a scale x scale image: x, y in [0, 1]."""
    line = (np.arange(scale, dtype=np.float32) + 0.5) / scale
    return np.meshgrid(line, line)
