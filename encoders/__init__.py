"""Encoders: turn glimpses into a state. This package knows tensors only and runs in anybody's repository."""

from encoders.registry import Registry

ENCODERS = Registry(
    "encoder",
    {
        "multizoom": "encoders.multizoom:MultiZoom",
        "gru": "encoders.gru:Gru",
    },
    base="encoders.base:Encoder",
)
