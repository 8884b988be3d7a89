"""How a group acts on tensors: field types, orbits, alignment, the Reynolds split and the additive orbit statistics."""
