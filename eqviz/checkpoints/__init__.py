"""Files of weights that people already have, read without running anything that is in them."""
