"""The loops over pixels and indices; each in tensors for any device, and compiled for the CPU."""
