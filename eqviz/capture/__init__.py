"""Forward hooks on the orbit of the inputs: every layer is aligned and reduced at once, nothing is stored."""
