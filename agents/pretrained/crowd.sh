#!/usr/bin/env bash
# Trains the policy `crowd` on the perception of that name, then evaluates it on test scenes.
# The file is runs/pretrained/crowd-policy/policy.safetensors.
set -euo pipefail
foveal policy --perception crowd --glimpses 12 --reward gain --precision auto --grpo.shared true --grpo.gamma 0.7 --grpo.learning_rate 2e-3 --grpo.n_epochs 3 --grpo.inhibition_radius 0.1 --grpo.num_scenes 32 --grpo.group_size 8 --grpo.batch_size 512 --train_glimpses 150000 --acts_only --out runs/pretrained/crowd-policy
foveal evaluate --perception crowd --glimpses 12 --precision auto --policies runs/pretrained/crowd-policy/policy.safetensors --split test --out runs/pretrained/crowd-evaluation
