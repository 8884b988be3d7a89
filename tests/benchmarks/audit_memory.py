"""Prints how far one audit, or one forward pass of one image, raises the peak memory of its process, in MiB.

python audit_memory.py audit|forward MODEL SIZE THREADS
"""

import sys

import torch
from peak_memory import memory  # the script beside this one

from eqviz.audit.auditing import examine
from eqviz.models.registry import build_model


def main(work: str, name: str, size: str, threads: str) -> None:
    if int(threads):
        torch.set_num_threads(int(threads))
    model = build_model(name).eval()
    image = torch.rand(1, 3, int(size), int(size))
    with torch.no_grad():
        model(torch.rand(1, 3, 9, 9))  # what torch sets up once
    examine(model, 9, "C4")  # and what the audit imports
    before = memory("VmRSS")
    if work == "audit":
        examine(model, int(size), "C4")
    else:
        with torch.no_grad():
            model(image)
    sys.stdout.write(f"{memory('VmHWM') - before}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
