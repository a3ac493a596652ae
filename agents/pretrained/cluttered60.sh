#!/usr/bin/env bash
# Trains the policy `cluttered60` on the perception of that name, with MNIST under FOVEAL_DATA, then evaluates it.
# The file is runs/pretrained/cluttered60-policy/policy.safetensors.
set -euo pipefail
foveal policy --perception cluttered60 --glimpses 5 --reward gain --precision auto --grpo.gamma 0.7 --train_glimpses 400000 --acts_only --out runs/pretrained/cluttered60-policy
foveal evaluate --perception cluttered60 --policies runs/pretrained/cluttered60-policy/policy.safetensors --glimpses 5 --precision auto --scenes 10000 --split test --out runs/pretrained/cluttered60-evaluation
