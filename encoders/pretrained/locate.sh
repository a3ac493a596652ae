#!/usr/bin/env bash
# Pretrains `locate`; the file is runs/pretrained/locate/perception.safetensors.
set -euo pipefail
foveal pretrain --source ladder --ladder.pictures_from digits --ladder.canvas '[100,250]' --ladder.augment --task locate --multizoom.patch 12 --multizoom.zooms 5 --multizoom.zoom_range '[0,4]' --multizoom.frequencies 4 --multizoom.state_tokens 4 --near_target 0.3 --steps 5000 --out runs/pretrained/locate
