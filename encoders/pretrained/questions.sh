#!/usr/bin/env bash
# Pretrains `questions`, which begins with the features of the shipped `search`; its weights are rounded to float16.
# The file is runs/pretrained/questions/perception.safetensors.
set -euo pipefail
foveal pretrain --source questions --task several --questions.augment --multizoom.patch 12 --multizoom.zooms 5 --multizoom.zoom_range '[0,4]' --multizoom.frequencies 5 --multizoom.width 128 --multizoom.heads 4 --multizoom.state_tokens 4 --features search --glimpses 6 --near_deviation 0.3 --learning_rate 1e-3 --steps 7500 --float16 --out runs/pretrained/questions
