"""Loops over pixels and indices: one file an algorithm, in tensors for any device and compiled for the CPU.

Kernels take tensors and know nothing of images or scenes. `foveal_env.kernels.dispatch` picks the form.
"""
