"""Encoders, imported as `foveal_encoders`: turn glimpses into a state. This package knows tensors only."""

if __name__ != "foveal_encoders":
    raise ImportError(f"import foveal_encoders, not {__name__}: the folder's name belongs to anybody's project")

ENCODERS = {
    "multizoom": "foveal_encoders.multizoom:MultiZoom",
    "spatial": "foveal_encoders.spatial:Spatial",
    "gru": "foveal_encoders.gru:Gru",
}
