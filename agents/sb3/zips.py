"""Files of Stable-Baselines3: they hold pickled objects, and are loaded with the caller's consent only."""

import json
import os
import zipfile
from importlib import import_module
from pathlib import Path
from typing import Any


def load_zip(path: str | os.PathLike, *, trust: bool, algorithm: Any = None, device: str = "cpu") -> Any:
    """Load what Stable-Baselines3 or a package built on it saved as a .zip.

    Args:
        path: the file.
        trust: whether it may be unpickled, which can run any code.
        algorithm: class that saved it; by default the one that its header tells.
        device: torch device.

    Raises FileNotFoundError, or ValueError without `trust`, for a file of another kind, or an unknown algorithm.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"no such file: {path}")
    if not trust:
        raise ValueError(
            f"{path}: a .zip of Stable-Baselines3 holds pickled objects, and to read these can run any code. No pickle "
            "is loaded by default: give trust=True if you know where the file comes from"
        )
    kind = algorithm or _algorithm_of(path)
    return kind.load(path, device=device)


def _algorithm_of(path: str | os.PathLike) -> Any:
    """Return the class that saved a .zip, by what its header says in plain text."""
    try:
        with zipfile.ZipFile(path) as archive:
            header = json.loads(archive.read("data"))
        module = header["policy_class"]["__module__"]
    except (zipfile.BadZipFile, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is not a .zip of Stable-Baselines3: {error}") from error
    package, _, rest = module.partition(".")
    name = {"cg_max_steps": "TRPO", "clip_range": "PPO"}
    found = next((name[key] for key in name if key in header), "A2C") if rest == "common.policies" else ""
    found = found or {"common.recurrent.policies": "RecurrentPPO"}.get(rest) or rest.partition(".")[0].upper()
    package = "sb3_contrib" if found == "TRPO" else package
    try:
        return getattr(import_module(package), {"CROSSQ": "CrossQ"}.get(found, found))
    except (ImportError, AttributeError) as error:
        raise ValueError(f"{path}: say which class saved it, algorithm=...; its policy is of {module}") from error
