"""Sources: where scenes come from."""

from foveal_env.registry import Registry

SOURCES = Registry(
    "source",
    {
        "digits": "foveal_env.sources.digits:Digits",
        "mnist": "foveal_env.sources.digits:Mnist",
        "fashion_mnist": "foveal_env.sources.digits:FashionMnist",
        "kmnist": "foveal_env.sources.digits:Kmnist",
        "ladder": "foveal_env.sources.ladder:Ladder",
        "search": "foveal_env.sources.search:Search",
        "crowd": "foveal_env.sources.crowd:Crowd",
        "questions": "foveal_env.sources.questions:Questions",
        "cifar10": "foveal_env.sources.pictures:Cifar10",
        "imagenette": "foveal_env.sources.pictures:Imagenette",
        "folder": "foveal_env.sources.folder:Folder",
    },
    base="foveal_env.sources.base:Source",
)
