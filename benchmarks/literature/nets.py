"""Nets that read the whole image at once: a convolutional one and a plain ViT."""

import torch
from torch import Tensor, nn


class ConvNet(nn.Sequential):
    """Four 3x3 convolutions with batch normalisation, each halving the image, and the maximum over what is left."""

    def __init__(self, channels: int, classes: int, *, width: int = 32):
        layers: list[nn.Module] = []
        for before, after in ((channels, width), (width, 2 * width), (2 * width, 4 * width), (4 * width, 4 * width)):
            layers += [nn.Conv2d(before, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU(), nn.MaxPool2d(2)]
        super().__init__(*layers, nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(4 * width, classes))


class ViT(nn.Module):
    """A plain ViT of torch's own layers: linear patches of 16 px, learned positions, the mean token classifies."""

    def __init__(self, channels: int, classes: int, *, side: int, width: int, depth: int, heads: int):
        super().__init__()
        self.stem = nn.Conv2d(channels, width, 16, stride=16)
        self.position = nn.Parameter(torch.randn(1, (side // 16) ** 2, width) * 0.02)
        layer = nn.TransformerEncoderLayer(width, heads, 4 * width, 0.0, "gelu", batch_first=True, norm_first=True)
        self.blocks = nn.TransformerEncoder(layer, depth, nn.LayerNorm(width), enable_nested_tensor=False)
        self.head = nn.Linear(width, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Map images [B, C, side, side] to logits [B, classes]."""
        return self.head(self.blocks(self.stem(images).flatten(2).mT + self.position).mean(dim=1))
