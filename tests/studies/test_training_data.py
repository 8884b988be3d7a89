from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from eqviz.data.images import Normalisation
from eqviz.errors import EqvizError
from eqviz.studies.batches import WHOLE, Share
from eqviz.studies.recipes import parse_recipe
from eqviz.studies.settings import Rotation, TrainingSettings
from eqviz.studies.streams import own_randomness, stream, stream_seed
from eqviz.studies.training_data import StreamedData, TensorData, prepare


def batches(n, size, epoch=1, seed=0, share=WHOLE, **more):
    pixels = torch.arange(n, dtype=torch.float32).view(n, 1, 1, 1).expand(n, 1, 4, 4)
    data = TensorData(
        pixels[:1], torch.arange(1), 10, Normalisation((0.5,), (0.5,)), "", images=pixels, labels=torch.arange(n)
    )
    return data.batches(TrainingSettings(5, batch_size=size, **more), seed, epoch, share)


@settings(deadline=None)
@given(st.integers(1, 60), st.integers(2, 20))
def test_an_epoch_shows_every_image_once_and_never_one_alone(n, size):
    found = list(batches(n, size))
    assert len(found) == len(batches(n, size))
    assert sorted(torch.cat([labels for _, labels in found]).tolist()) == list(range(n))
    assert n == 1 or min(len(labels) for _, labels in found) > 1
    assert all(torch.equal(images[:, 0, 0, 0], labels.float()) for images, labels in found)


@settings(deadline=None)
@given(st.integers(1, 60), st.integers(2, 20), st.integers(2, 4))
def test_several_devices_share_every_batch_in_equal_parts(n, size, of):
    parts = [list(batches(n, size, share=Share(rank, of))) for rank in range(of)]
    whole = [set(labels.tolist()) for _, labels in batches(n, size)]
    assert {len(part) for part in parts} == {len(batches(n, size, share=Share(0, of)))}
    for place, batch in enumerate(zip(*parts, strict=True)):
        shown = [label for _, labels in batch for label in labels.tolist()]
        assert len({len(labels) for _, labels in batch}) == 1
        assert len(set(shown)) == len(shown)
        assert set(shown) <= whole[place]
        assert len(shown) > min(size, n) - of or place == len(parts[0]) - 1


def test_epochs_and_seeds_differ_and_repeat():
    def order(**which):
        return torch.cat([labels for _, labels in batches(50, 8, **which)]).tolist()

    assert order(epoch=1) == order(epoch=1)
    assert len({tuple(order(epoch=epoch, seed=seed)) for epoch in (1, 2) for seed in (0, 1)}) == 4


def test_batches_are_turned_as_the_settings_say():
    still = [images for images, _ in batches(8, 4)]
    turned = [images for images, _ in batches(8, 4, rotation=Rotation("normal", 45.0, 1.0), quarter_turns=True)]
    assert not any(torch.equal(a, b) for a, b in zip(still, turned, strict=True))


def test_what_a_crop_brings_in_is_black():
    cropped = torch.cat([images for images, _ in batches(40, 8, crop=2)])
    assert float(cropped.min()) == -1
    assert float(torch.cat([images for images, _ in batches(40, 8, mirror=True)]).min()) == 0


def test_streams_are_told_apart():
    seeds = {stream_seed(*key) for key in [(0, "a"), (0, "a", 1), (1, "a"), (0, "b"), (10, "a"), (1, "a", 10)]}
    assert len(seeds) == 6
    assert torch.equal(torch.rand(3, generator=stream(0, "a")), torch.rand(3, generator=stream(0, "a")))


def test_own_randomness_puts_the_state_back():
    before = torch.get_rng_state()
    with own_randomness():
        torch.rand(5)
    assert torch.equal(before, torch.get_rng_state())


def test_own_randomness_does_not_start_cuda_which_forked_processes_could_not_use_then(monkeypatch):
    seeded = []
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: False)
    monkeypatch.setattr(torch.cuda, "get_rng_state", lambda device: pytest.fail("CUDA was started"))
    monkeypatch.setattr(torch.cuda, "manual_seed_all", seeded.append)
    before = torch.initial_seed()
    with own_randomness():
        torch.manual_seed(before + 1)
    assert seeded == [before + 1, before]


def test_prepare_normalises_by_the_training_images(tiny):
    recipe = parse_recipe(tiny, "tiny.toml")
    data = prepare(recipe.expand()[0])
    assert data.images.shape == (61, 1, 8, 8)
    assert data.monitor_images.shape == (40, 1, 8, 8)
    assert abs(float(data.images.mean())) < 1e-5
    assert abs(float(data.images.std(correction=0)) - 1) < 1e-4


def test_prepare_uses_the_given_normalisation_and_limits(tiny):
    tiny["data"]["normalisation"] = {"mean": [0.0], "std": [1.0]}
    tiny["training"]["monitor_images"] = 7
    recipe = parse_recipe(tiny, "tiny.toml")
    data = prepare(recipe.expand()[0])
    assert float(data.images.min()) >= 0
    assert len(data.monitor_labels) == 7


def test_uniform_images_are_turned_once_before_normalisation(tiny):
    tiny["training"]["rotation"] = "uniform"
    tiny["data"]["normalisation"] = {"mean": [0.5], "std": [0.25]}
    recipe = parse_recipe(tiny, "tiny.toml")
    spec = recipe.expand()[0]
    first, again = prepare(spec), prepare(spec)
    assert torch.equal(first.images, again.images)
    assert float(first.images.min()) == -2  # black, (0 - 0.5) / 0.25
    upright = parse_recipe(tiny | {"training": tiny["training"] | {"rotation": "upright"}}, "tiny.toml").expand()[0]
    assert not torch.equal(first.images, prepare(upright).images)
    assert torch.equal(first.monitor_images, prepare(upright).monitor_images)


def test_images_of_two_kinds_are_refused(tiny, tmp_path):
    path = tmp_path / "grey.npz"
    images = np.zeros((4, 8, 8), np.uint8)
    np.savez(
        path, x_train=images, y_train=np.arange(4) % 2, x_test=np.zeros((4, 8, 8, 3), np.uint8), y_test=np.arange(4) % 2
    )
    tiny["data"] = {"source": str(path)}
    recipe = parse_recipe(tiny, "tiny.toml")
    with pytest.raises(EqvizError, match="of the same classes and channels"):
        prepare(recipe.expand()[0])


@pytest.fixture
def pictures(tmp_path):
    """A folder in the layout of ImageNet: two classes, six pictures each to train on and two to test on, 20x24."""
    drawn = np.random.default_rng(0)
    for part, count in (("train", 6), ("val", 2)):
        for label in ("n01", "n02"):
            folder = tmp_path / "imagenet" / part / label
            folder.mkdir(parents=True)
            for number in range(count):
                pixels = drawn.integers(0, 256, (20, 24, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{label}_{number}.JPEG")
    return tmp_path


def streamed(tiny, root, size=16, **training):
    tiny["data"] = {"source": "imagenet", "root": str(root)}
    tiny["training"] |= training
    tiny["runs"] = [{"model": "z2resnet8", "input_size": size}]
    return parse_recipe(tiny, "tiny.toml").expand()[0]


def test_pictures_are_read_anew_in_every_epoch_and_by_any_reader_alike(tiny, pictures):
    spec = streamed(tiny, pictures, batch_size=4)
    data = prepare(spec)
    assert isinstance(data, StreamedData)
    assert (data.count, data.image_shape, data.classes) == (12, (3, 16, 16), 2)

    def epoch(number, source=data):
        return [torch.cat(parts) for parts in zip(*source.batches(spec.training, 0, number), strict=True)]

    (first, labels), (second, _), (read_ahead, _) = epoch(1), epoch(2), epoch(1, prepare(spec, workers=1))
    assert first.shape == (12, 3, 16, 16)
    assert sorted(labels.tolist()) == [0] * 6 + [1] * 6
    assert torch.equal(first, read_ahead)
    assert not torch.equal(first.sort(0).values, second.sort(0).values)


def test_pictures_in_files_are_normalised_turned_and_limited_as_those_in_memory(tiny, pictures):
    spec = streamed(tiny, pictures, batch_size=4, rotation="uniform")
    spec = replace(spec, variant=replace(spec.variant, data=replace(spec.data, train_limit=4)))
    data = prepare(spec)
    assert data.count == 4
    turned, still = (
        torch.cat([images for images, _ in each.load([torch.arange(4)], 0, 1)])
        for each in (data, replace(data, angles=None))
    )
    black = data.normalisation.apply(torch.zeros(1, 3, 1, 1))[0, :, 0, 0]
    assert bool((turned[:, :, 0, 0] == black).all(1).any())  # a corner that was turned in
    assert not bool((still[:, :, 0, 0] == black).all(1).any())
    whole = data.normalisation.apply(torch.from_numpy(data.files.load().images))
    assert float(whole.mean().abs()) < 1e-4  # the normalisation is its own


def test_a_folder_of_pictures_is_read_into_memory_or_on_request_from_its_files(tiny, pictures):
    spec = streamed(tiny, pictures, batch_size=4)
    for stream_it, kind in ((False, TensorData), (True, StreamedData)):
        folder = replace(spec.data, source=str(pictures / "imagenet"), root=None, stream=stream_it)
        found = prepare(replace(spec, variant=replace(spec.variant, data=folder)))
        assert type(found) is kind
        assert (found.count, found.image_shape) == (12, (3, 16, 16))
