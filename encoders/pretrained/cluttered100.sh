#!/usr/bin/env bash
# Pretrains `cluttered100` from MNIST under FOVEAL_DATA; the file is runs/pretrained/cluttered100/perception.safetensors.
# The stages alternate: in half of the scenes the second round looks as a policy does that was trained on the first.
# `python -m benchmarks.literature --row cluttered100 --stage1 0` does the same.
set -euo pipefail
scenes=(--source mnist --mnist.canvas 100 --mnist.clutter 8 --mnist.augment)
encoder=(--multizoom.patch 16 --multizoom.zooms 2 --multizoom.zoom_range '[0.474, 2.0589]' --multizoom.width 128 --multizoom.heads 4 --multizoom.state_tokens 4)
training=(--glimpses 4 --near_deviation 0.2 --auxiliary_task point)
first=runs/pretrained/cluttered100-first/perception.safetensors
foveal pretrain "${scenes[@]}" "${encoder[@]}" "${training[@]}" --steps 14000 --seed 0 --out runs/pretrained/cluttered100-first
foveal compare --learners grpo --baselines random oracle --seeds 1 --split validation --perception "$first" --glimpses 4 --reward gain --precision auto --grpo.gamma 0.7 --train_glimpses 400000 --out runs/pretrained/cluttered100-policy
foveal pretrain "${scenes[@]}" "${encoder[@]}" "${training[@]}" --steps 20000 --learning_rate 0.001 --seed 100 --start "$first" --policy runs/pretrained/cluttered100-policy/grpo-0/policy.safetensors --out runs/pretrained/cluttered100
