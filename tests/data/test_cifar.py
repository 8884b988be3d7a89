import numpy as np
import pytest

from eqviz.data.cifar import load_cifar10, load_cifar100
from eqviz.errors import EqvizError

NAMES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


def write_rows(path, labels, pixels):
    rows = np.concatenate([np.asarray(labels, np.uint8).reshape(len(pixels), -1), pixels.reshape(len(pixels), -1)], 1)
    path.write_bytes(rows.tobytes())


def write_cifar10(folder, n=3):
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    pixels, labels = rng.integers(0, 256, (6 * n, 3, 32, 32), np.uint8), rng.integers(0, 10, 6 * n)
    files = [*(f"data_batch_{batch}.bin" for batch in range(1, 6)), "test_batch.bin"]
    for place, file in enumerate(files):
        rows = slice(place * n, (place + 1) * n)
        write_rows(folder / file, labels[rows], pixels[rows])
    (folder / "batches.meta.txt").write_text("\n".join(NAMES) + "\n\n")
    return pixels, labels


@pytest.mark.parametrize("below", [".", "cifar-10-batches-bin"])
def test_cifar10_comes_back_as_it_was_written(tmp_path, below):
    pixels, labels = write_cifar10(tmp_path / below)
    train, test = load_cifar10("train", tmp_path), load_cifar10("test", tmp_path)
    assert train.classes == tuple(NAMES)
    np.testing.assert_array_equal(np.rint(np.concatenate([train.images, test.images]) * 255), pixels)
    np.testing.assert_array_equal(np.concatenate([train.labels, test.labels]), labels)


@pytest.mark.parametrize("below", [".", "cifar-100-binary"])
def test_cifar100_has_fine_labels(tmp_path, below):
    folder = tmp_path / below
    folder.mkdir(exist_ok=True)
    pixels = np.random.default_rng(0).integers(0, 256, (4, 3, 32, 32), np.uint8)
    write_rows(folder / "train.bin", [[1, 99], [2, 5], [19, 0], [0, 42]], pixels)
    data = load_cifar100("train", tmp_path)
    assert data.labels.tolist() == [99, 5, 0, 42]
    assert data.classes == tuple(map(str, range(100)))
    np.testing.assert_array_equal(np.rint(data.images * 255), pixels)
    (folder / "fine_label_names.txt").write_text("".join(f"class {number}\n" for number in range(100)))
    assert load_cifar100("train", tmp_path).classes[99] == "class 99"


def test_missing_batches_are_named(tmp_path):
    write_cifar10(tmp_path)
    (tmp_path / "data_batch_3.bin").unlink()
    assert len(load_cifar10("test", tmp_path)) == 3
    with pytest.raises(EqvizError, match=r"found no data_batch_3\.bin;"):
        load_cifar10("train", tmp_path)


@pytest.mark.parametrize(
    ("file", "content", "found"),
    [
        ("test_batch.bin", b"", "0 bytes"),
        ("test_batch.bin", bytes(3072), "3072 bytes"),
        ("test_batch.bin", bytes(2 * 3073 - 1), "6145 bytes"),
        ("test_batch.bin", bytes([10]) + bytes(3072), "label 10"),
        ("batches.meta.txt", b"cat\ndog\n", "found 2;"),
        ("batches.meta.txt", b"\xff\xfe", "utf-8"),
    ],
)
def test_malformed_files_are_one_line_that_names_the_file(tmp_path, file, content, found):
    write_cifar10(tmp_path)
    (tmp_path / file).write_bytes(content)
    with pytest.raises(EqvizError) as raised:
        load_cifar10("test", tmp_path)
    assert str(tmp_path / file) in str(raised.value)
    assert found in str(raised.value)
