#!/usr/bin/env bash
# Pretrains `spatial_search`; the file is runs/pretrained/spatial_search/perception.safetensors.
set -euo pipefail
foveal pretrain --source search --task search --search.augment --search.clutter 4 --search.canvas '[60,100,250,400,700,1000]' --encoder spatial --glimpses 6 --near_deviation 0.3 --backprop_through_time --learning_rate 2e-3 --steps 3200 --out runs/pretrained/spatial_search
