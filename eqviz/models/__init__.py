"""Reference networks: group convolutions and their layers, the CNN and ResNets of the paper, and their plain twins."""
