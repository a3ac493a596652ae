#!/usr/bin/env bash
# Trains the policy `reconstruct` on the perception of that name, then evaluates it on test scenes.
# The file is runs/pretrained/reconstruct-policy/policy.safetensors.
set -euo pipefail
foveal policy --perception reconstruct --glimpses 8 --reward gain --precision auto --grpo.gamma 0.7 --train_glimpses 300000 --acts_only --out runs/pretrained/reconstruct-policy
foveal evaluate --perception reconstruct --glimpses 8 --precision auto --policies runs/pretrained/reconstruct-policy/policy.safetensors --split test --out runs/pretrained/reconstruct-evaluation
