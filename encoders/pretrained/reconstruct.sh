#!/usr/bin/env bash
# Pretrains `reconstruct`; the file is runs/pretrained/reconstruct/perception.safetensors.
set -euo pipefail
foveal pretrain --digits.canvas 100 --digits.augment --task reconstruct --multizoom.patch 12 --multizoom.zooms 2 --multizoom.zoom_range '[1,2]' --multizoom.frequencies 3 --near_target 0 --glimpses 7 --steps 4000 --out runs/pretrained/reconstruct
