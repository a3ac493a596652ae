#!/usr/bin/env bash
# Pretrains `cluttered60` from MNIST under FOVEAL_DATA; the file is runs/pretrained/cluttered60/perception.safetensors.
# The stages alternate: in half of the scenes the second round looks as a policy does that was trained on the first.
# `python -m benchmarks.literature --row cluttered60 --stage1 0` does the same.
set -euo pipefail
scenes=(--source mnist --mnist.canvas 60 --mnist.clutter 4 --mnist.augment)
encoder=(--multizoom.patch 24 --multizoom.zooms 1 --multizoom.zoom_range '[1.3219, 1.3219]' --multizoom.width 128 --multizoom.heads 4 --multizoom.state_tokens 4)
training=(--glimpses 5 --near_deviation 0.2 --auxiliary_task point)
first=runs/pretrained/cluttered60-first/perception.safetensors
foveal pretrain "${scenes[@]}" "${encoder[@]}" "${training[@]}" --steps 30000 --seed 0 --out runs/pretrained/cluttered60-first
foveal compare --learners grpo --baselines random oracle --seeds 1 --split validation --perception "$first" --glimpses 5 --reward gain --precision auto --grpo.gamma 0.7 --train_glimpses 400000 --out runs/pretrained/cluttered60-policy
foveal pretrain "${scenes[@]}" "${encoder[@]}" "${training[@]}" --steps 10000 --learning_rate 0.001 --seed 100 --start "$first" --policy runs/pretrained/cluttered60-policy/grpo-0/policy.safetensors --out runs/pretrained/cluttered60
