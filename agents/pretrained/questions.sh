#!/usr/bin/env bash
# Trains the policy `questions` on the perception of that name, then evaluates it on test scenes.
# The file is runs/pretrained/questions-policy/policy.safetensors.
set -euo pipefail
foveal policy --perception questions --glimpses 6 --reward gain --precision auto --grpo.gamma 0.7 --train_glimpses 400000 --acts_only --out runs/pretrained/questions-policy
foveal evaluate --perception questions --glimpses 6 --precision auto --policies runs/pretrained/questions-policy/policy.safetensors --split test --out runs/pretrained/questions-evaluation
