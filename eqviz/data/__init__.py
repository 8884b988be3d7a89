"""Labelled images: the data sets that eqviz knows, folders of pictures, and array files."""
