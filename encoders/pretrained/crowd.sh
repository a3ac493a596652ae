#!/usr/bin/env bash
# Pretrains `crowd`, which begins with the weights of `spatial_search`.
# The file is runs/pretrained/crowd/perception.safetensors.
set -euo pipefail
foveal pretrain --source crowd --task search --crowd.augment --crowd.canvas '[200,300,390,395,400,405,410]' --crowd.candidates '[9,25,4,9,16,36,36]' --encoder spatial --start spatial_search --glimpses 6 --near_deviation 0.3 --backprop_through_time --learning_rate 1e-3 --steps 2600 --out runs/pretrained/crowd
