"""Finite subgroups of O(2): elements, subgroups, irreps, projectors. numpy only."""
