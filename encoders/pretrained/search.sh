#!/usr/bin/env bash
# Pretrains `search`; the file is runs/pretrained/search/perception.safetensors.
# It begins with the features of a classifier. The last two trainings have more glimpses, and larger canvases.
set -euo pipefail
encoder=(--multizoom.patch 12 --multizoom.zooms 5 --multizoom.zoom_range '[0,4]' --multizoom.frequencies 5 --multizoom.width 128 --multizoom.heads 4 --multizoom.state_tokens 4)
search=(--source search --task search --search.augment --near_deviation 0.3)
foveal pretrain --source ladder --ladder.pictures_from digits --ladder.canvas '[60,100,250]' --ladder.clutter 4 --ladder.augment "${encoder[@]}" --glimpses 3 --near_deviation 0.3 --auxiliary_task point --steps 2500 --out runs/pretrained/search-features
foveal pretrain "${search[@]}" "${encoder[@]}" --search.canvas '[60,100,250]' --search.aim 0.5 --features runs/pretrained/search-features/perception.safetensors --glimpses 5 --learning_rate 1e-3 --steps 9000 --out runs/pretrained/search-first
foveal pretrain "${search[@]}" "${encoder[@]}" --search.canvas '[60,100,250,400]' --start runs/pretrained/search-first/perception.safetensors --glimpses 9 --learning_rate 7e-4 --steps 4500 --out runs/pretrained/search-second
foveal pretrain "${search[@]}" "${encoder[@]}" --search.canvas '[60,100,250,400]' --start runs/pretrained/search-second/perception.safetensors --glimpses 9 --backprop_through_time --learning_rate 5e-4 --steps 3000 --out runs/pretrained/search
