#!/usr/bin/env bash
# Trains the policy `cluttered100` on the perception of that name, with MNIST under FOVEAL_DATA, then evaluates it.
# The file is runs/pretrained/cluttered100-policy/policy.safetensors.
set -euo pipefail
foveal policy --perception cluttered100 --glimpses 4 --reward gain --precision auto --grpo.gamma 0.7 --train_glimpses 400000 --acts_only --out runs/pretrained/cluttered100-policy
foveal evaluate --perception cluttered100 --policies runs/pretrained/cluttered100-policy/policy.safetensors --glimpses 4 --precision auto --scenes 10000 --split test --out runs/pretrained/cluttered100-evaluation
