"""Folders of checkpoints that eqviz did not write: their description, `eqviz.toml`, and what it finds."""
