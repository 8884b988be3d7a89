"""Studies: recipes of what to train, the folders of trained runs, training itself and its demo."""
