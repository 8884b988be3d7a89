"""Train small networks in plain PyTorch and leave their checkpoints as people leave them: the README's example.

    python analyses/foreign_checkpoints.py FOLDER [--kind plain] [--kind lineage] [--kind steerable] [--epochs 12]

    FOLDER/plain/      a CNN that eqviz does not know; {"epoch", "state_dict", "args"} in .pth.tar, two seeds
    FOLDER/lineage/    the P4 CNN with two pools under its published tensor names, as DataParallel saves it, at 16
                       and 18 pixels
    FOLDER/steerable/  an e2cnn network over rotations and one with reflections at 16 and 17 pixels; needs e2cnn, which
                       needs numpy before 2 (`pip install 'eqviz[steerable]'`)

All on scikit-learn's digits, enlarged, normalised by mean 0.3052 and standard deviation 0.3186.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import torch
from foreign_models import PlainNet, SteerableNet
from torch import nn
from torch.nn import functional as F

from eqviz.data.digits import load_digits
from eqviz.models.registry import build_model

MEAN, STD = 0.3052, 0.3186
KINDS = ("plain", "lineage", "steerable")


def networks(kind: str) -> Iterator[tuple[str, int, int, nn.Module, dict[str, object]]]:
    """File name, input size, seed, network and its own options, of every checkpoint of a kind."""
    if kind == "plain":
        for seed in (0, 1):
            torch.manual_seed(seed)
            yield f"plainnet_digits_16px_seed{seed}.pth.tar", 16, seed, PlainNet(), {}
    elif kind == "lineage":
        for size in (16, 18):
            torch.manual_seed(0)
            network = nn.DataParallel(build_model("p4cnn_two_pools", in_channels=1, channels=8))
            yield f"p4cnn_digits_n{size}_seed0.pt", size, 0, network, {}
    else:
        for flips in (False, True):
            for size in (16, 17):
                torch.manual_seed(0)
                group = "d4" if flips else "c4"
                yield f"e2cnn_{group}_digits_n{size}_seed0.pth", size, 0, SteerableNet(flips=flips), {"flips": flips}


def train(network: nn.Module, size: int, seed: int, epochs: int) -> None:
    """Adam, cross entropy, batches of 64 of the 1,200 training digits at `size` pixels."""
    data = load_digits("train").resized((size, size))
    images = (torch.from_numpy(data.images) - MEAN) / STD
    labels = torch.from_numpy(data.labels)
    drawn = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.Adam(network.parameters(), lr=0.01)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, epochs)
    network.train()
    for _ in range(epochs):
        for batch in torch.randperm(len(images), generator=drawn).split(64):
            output = network(images[batch])
            loss = F.cross_entropy(output[0] if isinstance(output, tuple) else output, labels[batch])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        schedule.step()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kind", action="append", choices=KINDS, help="all of them unless given")
    parser.add_argument("--epochs", type=int, default=12)
    given = parser.parse_args()
    for kind in given.kind or KINDS:
        (given.folder / kind).mkdir(parents=True, exist_ok=True)
        for name, size, seed, network, options in networks(kind):
            train(network, size, seed, given.epochs)
            args = argparse.Namespace(dataset="digits", input_size=size, seed=seed, mean=[MEAN], std=[STD], **options)
            content = {"epoch": given.epochs, "state_dict": network.state_dict(), "args": args}
            torch.save(content, given.folder / kind / name)
            print(f"{given.folder / kind / name}")


if __name__ == "__main__":
    main()
