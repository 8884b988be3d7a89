"""Images that are broken, of another kind, or do not fit the network: arrays in .npz files, and folders of pictures."""

import io
import struct
import zipfile
import zlib

import numpy as np
import pytest
from PIL import Image

from tests.bad_input.conftest import describe
from tests.bad_input.crafting import NO_FILES, flipped, zipped

N = 40
PIXELS = np.random.default_rng(0).integers(0, 255, (N, 8, 8), np.uint8)
LABELS = np.arange(N) % 10


def archive(**arrays):
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


@pytest.fixture
def unusable(folder, refused, tmp_path):
    """Writes these bytes as images.npz, which must be refused by its name, or by that of the run where they fit not."""

    def call(content, *names, about="images.npz"):
        (tmp_path / "images.npz").write_bytes(content)
        options = ("--data", tmp_path / "images.npz", "--only", "accuracy")
        return refused(folder, *options, command="analyse", names=(about, *names))

    return call


def test_the_images_themselves_are_sound(works, folder, tmp_path):
    (tmp_path / "images.npz").write_bytes(archive(images=PIXELS, labels=LABELS))
    works(folder, "--data", tmp_path / "images.npz", "--only", "accuracy", command="analyse")


FLOATS = PIXELS / np.float32(255)


@pytest.mark.parametrize(
    ("arrays", "found"),
    [
        ({"images": PIXELS.astype(np.int64)}, "int64"), ({"images": PIXELS.astype(np.uint16) * 9}, "uint16"),
        ({"images": PIXELS.astype(np.complex64)}, "complex64"), ({"images": PIXELS.astype("M8[s]")}, "datetime64"),
        ({"images": PIXELS.astype(str)}, "U"), ({"images": PIXELS.astype("V1")}, ""),
        ({"images": FLOATS * 255}, "0..1"), ({"images": FLOATS * np.nan}, "0..1"),
        ({"images": FLOATS + np.inf}, "0..1"), ({"images": -FLOATS - 0.1}, "0..1"), ({"images": PIXELS[:0]}, ""),
        ({"images": PIXELS[:, :0]}, ""), ({"images": PIXELS[0]}, ""), ({"images": PIXELS[0, 0, 0]}, ""),
        ({"images": PIXELS[..., None, None]}, ""), ({"images": np.repeat(PIXELS[..., None], 2, -1)}, "1 or 3"),
        ({"images": PIXELS[:10]}, "10"), ({"labels": LABELS[:3]}, "3"), ({"labels": LABELS - 1}, "-1..8"),
        ({"labels": LABELS * 10**9}, ""), ({"labels": LABELS + 0.5}, "float64"), ({"labels": LABELS[None]}, ""),
        ({"labels": LABELS[:0]}, ""), ({"labels": np.array(["a\x1b[2J"] * N)}, ""), ({"labels": np.array(0)}, ""),
        ({"labels": LABELS.astype(np.uint64) + 2**63}, ""), ({"classes": np.array(["a"])}, "10"),
        ({"source": LABELS[:3]}, "source"), ({"source": np.ones(N)}, "source"),
    ],
    ids=range(29),
)  # fmt: skip
def test_arrays_that_are_no_images(unusable, arrays, found):
    known = {"images": PIXELS, "labels": LABELS} | arrays
    about = "" if set(arrays) == {"labels"} and arrays["labels"].dtype.kind == "U" else "images.npz"
    unusable(archive(**known), found, about=about)


@pytest.mark.parametrize(
    ("arrays", "found"),
    [
        ({"images": PIXELS[:1], "labels": LABELS[:1]}, "1 classes"), ({"labels": LABELS}, "images"),
        ({"images": PIXELS}, "labels"), ({}, "images"),
        ({"x_train": PIXELS, "y_train": LABELS, "x_test": PIXELS}, ""),
        ({"images": np.repeat(PIXELS[..., None], 3, -1), "labels": LABELS}, "channel"),
        ({"images": PIXELS, "labels": LABELS % 3}, "class"), ({"images": PIXELS, "labels": LABELS * 3}, "class"),
    ],
    ids=range(8),
)  # fmt: skip
def test_arrays_that_do_not_suffice(unusable, arrays, found):
    unusable(archive(**arrays), found, about="")


WHOLE = archive(images=PIXELS, labels=LABELS)


def declaring(shape, descr="|u1", size=10):
    """An .npz file whose images declare any shape and type."""
    header = f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape}}}".ljust(117) + "\n"
    array = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + bytes(size)
    labels = zipfile.ZipFile(io.BytesIO(WHOLE)).read("labels.npy")
    return zipped([("images.npy", array), ("labels.npy", labels)])


def bomb():
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("images.npy", declaring("(40, 8, 8)", size=10**7)[:0] + bytes(10**7))
        made.writestr("labels.npy", b"")
    return stream.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        b"", b"junk", WHOLE[:100], WHOLE[:-30], flipped(WHOLE, 0.3), flipped(WHOLE, -4), b"\x93NUMPY\x01\x00", bomb(),
        declaring("(40, 100000, 100000)"), declaring("(-40, 8, 8)"), declaring("(2**70,)"),
        declaring("(40, 8, 8)", "|O"), declaring("__import__('os').system('touch owned')"),
        declaring("(40, 8, 8)", "|V" + "9" * 50), declaring("(" * 5000),
        zipped([("../../images.npy", b"x"), ("labels.npy", b"x")]),
        zipped([("/images.npy", b"x"), ("labels.npy", b"x")]), zipped([("images.npy", WHOLE), ("labels.npy", b"")]),
        zipped([("images.npy/x", b""), ("labels.npy", b"")]),
        zipped([("images.npy", b""), ("images.npy", b""), ("labels.npy", b"")]), zipped([]),
    ],
    ids=range(21),
)  # fmt: skip
def test_archives_of_arrays_that_are_broken_or_lie(unusable, tmp_path, content):
    unusable(content)
    assert not list(tmp_path.rglob("owned"))


def picture(size=(8, 8), mode="L", noise=False, **options):
    stream = io.BytesIO()
    made = Image.effect_noise(size, 90) if noise else Image.new(mode, size, **options)
    made.save(stream, "PNG")
    return stream.getvalue()


def huge():
    """A PNG of a few bytes that declares gigapixels."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")


@pytest.fixture
def pictures(tmp_path):
    """A folder of pictures in ten classes, two a class, divided into train and test."""
    for split in ("train", "test"):
        for label in range(10):
            place = tmp_path / f"pictures/{split}/{label}"
            place.mkdir(parents=True)
            for name in "ab":
                (place / f"{name}.png").write_bytes(picture(color=20 * label + 3))
    return tmp_path / "pictures"


@pytest.mark.parametrize(
    "content",
    [
        b"", b"junk", picture()[:40], picture(noise=True)[:-40], flipped(picture(), 0.3), huge(),
        b"GIF89a" + bytes(20), b"<svg/>", b"%!PS-Adobe-3.0\n", b"\xff\xd8\xff\xe0" + bytes(30),
        b"P5 99999999 99999999 255 " + bytes(9), b"BM" + bytes(60), b"II*\x00" + bytes(4),
        b"RIFF\x10\x00\x00\x00WEBPVP8 ", b"P5 8 8 0 " + bytes(64),
    ],
    ids=range(15),
)  # fmt: skip
def test_pictures_that_are_broken(folder, refused, pictures, content):
    (pictures / "test/3/b.png").write_bytes(content)
    refused(folder, "--data", pictures, "--only", "accuracy", command="analyse", names=("3/b.png",))


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("read me.txt", lambda path: path.write_text("hello")), (".hidden.png", lambda path: path.write_bytes(b"junk")),
        ("Thumbs.db", lambda path: path.write_bytes(b"junk")), ("é‮ñ $(x) 'q' \"d\" ;.png",
        lambda path: path.write_bytes(picture())),
        ("new\nline\x1b[2J.png", lambda path: path.write_bytes(picture())), ("-rf.png",
        lambda path: path.write_bytes(picture())),
        ("x" * 251 + ".png", lambda path: path.write_bytes(picture())), ("16.png",
        lambda path: path.write_bytes(picture(mode="I;16"))),
        ("palette.png", lambda path: path.write_bytes(picture(mode="P"))), ("loop", lambda path: path.symlink_to("..")),
        ("animated.gif", lambda path: Image.new("L", (8, 8)).save(path, save_all=True, append_images=[Image.new("L",
        (8, 8), 9)])),
        ("folder.png", lambda path: path.mkdir()), ("empty", lambda path: path.mkdir()),
        ("dangling.png", lambda path: path.symlink_to("nowhere")),
    ],
    ids=range(14),
)  # fmt: skip
def test_what_lies_among_pictures_and_does_no_harm(folder, works, pictures, name, make):
    for split in ("train", "test"):
        make(pictures / split / "4" / name)
    describe(folder, data={"source": str(pictures), "channels": 1})
    works(folder, "--only", "accuracy", command="analyse")


@pytest.mark.parametrize("make", NO_FILES)
def test_images_that_are_no_files(folder, refused, tmp_path, make):
    make(tmp_path / "images.npz")
    refused(folder, "--data", tmp_path / "images.npz", command="analyse", names=("images.npz",))


@pytest.mark.parametrize(
    ("spoil", "names"),
    [
        (lambda root: [path.unlink() for path in root.rglob("*.png")], ("pictures",)),
        (lambda root: [path.unlink() for path in root.glob("test/*/*.png")], ()),
        (lambda root: [path.write_bytes(picture(mode="RGB")) for path in root.rglob("*.png")], ("channel",)),
        (lambda root: [path.write_bytes(picture((12,
        7))) for path in root.glob("test/3/*")] and (root / "test/3/a.png").unlink(), ()),
        (lambda root: (root / "test/3/a.gif").symlink_to("a.gif"), ("a.gif",)),
        (lambda root: [path.rename(path.with_suffix(".svg")) for path in root.rglob("*.png")], ("pictures",)),
        (lambda root: [path.rename(root / f"{path.parent.name}{path.name}") for path in root.glob("t*/*/*.png")],
        ("class",)),
        (lambda root: (root / "test/extra").mkdir() or (root / "test/extra/a.png").write_bytes(picture()), ("class",)),
    ],
    ids=["none", "no test", "colour", "other sizes", "loop", "vector", "no classes", "more classes"],
)  # fmt: skip
def test_folders_of_pictures_that_do_not_fit(folder, refused, works, pictures, spoil, names, request):
    spoil(pictures)
    if request.node.callspec.id == "other sizes":  # made of one size
        works(folder, "--data", pictures, "--only", "accuracy", command="analyse")
    else:
        refused(folder, "--data", pictures, "--only", "accuracy", command="analyse", names=names)
