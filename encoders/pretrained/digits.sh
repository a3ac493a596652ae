#!/usr/bin/env bash
# Pretrains `digits`; the file is runs/pretrained/digits/perception.safetensors.
set -euo pipefail
foveal pretrain --digits.canvas 140 --digits.clutter 14 --digits.augment --multizoom.patch 12 --steps 20000 --out runs/pretrained/digits
