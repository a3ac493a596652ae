#!/usr/bin/env bash
# Trains the policy `locate` on the perception of that name, then evaluates it on test scenes.
# The file is runs/pretrained/locate-policy/policy.safetensors.
set -euo pipefail
foveal policy --perception locate --canvas 250 --glimpses 8 --reward gain --precision auto --grpo.gamma 0.7 --train_glimpses 400000 --acts_only --out runs/pretrained/locate-policy
foveal evaluate --perception locate --canvas 250 --glimpses 8 --precision auto --policies runs/pretrained/locate-policy/policy.safetensors --split test --out runs/pretrained/locate-evaluation
