"""Faults: what the project survives, and what its tests see."""
