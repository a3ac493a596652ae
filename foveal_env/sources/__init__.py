"""Sources: where scenes come from."""

from foveal_env.registry import Registry

SOURCES = Registry(
    "source",
    {
        "digits": "foveal_env.sources.composed:Digits",
        "mnist": "foveal_env.sources.composed:Mnist",
        "fashion_mnist": "foveal_env.sources.composed:FashionMnist",
        "kmnist": "foveal_env.sources.composed:Kmnist",
        "ladder": "foveal_env.sources.ladder:Ladder",
        "search": "foveal_env.sources.search:Search",
        "questions": "foveal_env.sources.questions:Questions",
        "cifar10": "foveal_env.sources.pictures:Cifar10",
        "imagenette": "foveal_env.sources.pictures:Imagenette",
        "folder": "foveal_env.sources.pictures:Folder",
    },
    base="foveal_env.sources.base:Source",
)
