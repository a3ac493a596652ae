"""Opens the data sets of torchvision, with errors that say what to do."""

import os
import re
from pathlib import Path
from typing import Any

import torch

_libraries: list[torch.library.Library] = []  # a Library is undone when it is collected


def import_datasets() -> Any:
    """Import ``torchvision.datasets``, even if torch is a CPU build and torchvision was made for CUDA.

    Such a torchvision cannot load its compiled operators, and fails when it declares their shapes. The data sets do not
    use them. So it is enough to declare that the two exist; `torchvision.ops` stays unusable, as it was.
    """
    try:
        from torchvision import datasets
    except RuntimeError as error:
        if "torchvision::nms does not exist" not in str(error) or torch.version.cuda is not None or _libraries:
            raise
        library = torch.library.Library("torchvision", "DEF")
        for name in ("nms", "qnms"):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _libraries.append(library)
        from torchvision import datasets
    return datasets


def data_root(root: str | os.PathLike | None) -> Path:
    """Return the folder of data sets: `root`, else the variable FOVEAL_DATA, else ./data."""
    return Path(root or os.environ.get("FOVEAL_DATA") or "data")


def open_dataset(name: str, *, root: str | os.PathLike | None, download: bool, **options: Any) -> Any:
    """Open ``torchvision.datasets.NAME``; FileNotFoundError says how to get a missing one."""
    folder = data_root(root)
    try:
        return getattr(import_datasets(), name)(str(folder), download=download, **options)
    except RuntimeError as error:
        if not re.search(r"not found|download|corrupted", str(error), re.IGNORECASE):
            raise
        raise FileNotFoundError(
            f"the data set {name} is not complete in {folder}: {error}. Set the variable FOVEAL_DATA (or root) to "
            "the folder that holds it, or let the source fetch it there: source_options={'download': True} in "
            "gym.make, --source_options '{\"download\": true}' on the command line, or --SOURCE.download of `pretrain`"
        ) from error
