"""Generate a small folder of pictures laid out like ImageNet, the stand-in for it in experiment 5.

    python analyses/make_pictures.py FOLDER [--classes 4] [--train 24] [--val 8]

Writes FOLDER/generated-pictures/train/<class>/*.JPEG and FOLDER/generated-pictures/val/<class>/*.JPEG: coloured noise
under one shape a class, upright (a bar above, a disc left, a wedge, a cross), at various sizes. The same call writes
the same pictures.
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

SHAPES = ("n0001", "n0002", "n0003", "n0004")


def picture(label: int, drawn: np.random.Generator) -> Image.Image:
    """One picture of a class: its shape, jittered, on smooth coloured noise."""
    height, width = (int(side) for side in drawn.integers(200, 300, 2))
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j] + drawn.uniform(-0.1, 0.1, (2, 1, 1))
    inside = (
        (np.abs(y + 0.5) < 0.18) & (np.abs(x) < 0.7),
        (x + 0.4) ** 2 + y**2 < 0.16,
        (y > -0.6) & (y < 0.6) & (np.abs(x) < 0.5 * (y + 0.6)),
        (np.minimum(np.abs(x), np.abs(y - 0.2)) < 0.1) & (np.maximum(np.abs(x), np.abs(y - 0.2)) < 0.6),
    )[label]
    coarse = drawn.integers(0, 160, (6, 6, 3), dtype=np.uint8)
    noise = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
    pixels = np.where(inside[..., None], drawn.integers(150, 256, 3), np.asarray(noise))
    return Image.fromarray(pixels.astype(np.uint8))


def write(folder: Path, classes: int, counts: dict[str, int]) -> int:
    """Write the pictures; returns how many."""
    for part, count in counts.items():
        for label, name in enumerate(SHAPES[:classes]):
            place = folder / "generated-pictures" / part / name
            place.mkdir(parents=True, exist_ok=True)
            for number in range(count):
                drawn = np.random.default_rng([label, number, part == "val"])
                picture(label, drawn).save(place / f"{name}_{number:03d}.JPEG", quality=90)
    return classes * sum(counts.values())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--classes", type=int, default=4, choices=range(2, len(SHAPES) + 1))
    parser.add_argument("--train", type=int, default=24, help="pictures a class to train on")
    parser.add_argument("--val", type=int, default=8, help="pictures a class to test on")
    given = parser.parse_args()
    count = write(given.folder, given.classes, {"train": given.train, "val": given.val})
    command = f"eqviz train analyses/05_imagenet.toml --preset quick --data-root {given.folder} -o runs"
    print(f"{count} pictures in {given.folder}/generated-pictures; next: {command}")


if __name__ == "__main__":
    main()
