"""Images of any size: prepared once, and read a few texels at a time."""

from foveal_env.images.batch import Images

__all__ = ["Images"]
