#!/usr/bin/env bash
# Trains the policy `digits` on the perception of that name, then evaluates it on test scenes.
# The file is runs/pretrained/digits-policy/policy.safetensors.
set -euo pipefail
foveal policy --reward probability --precision auto --acts_only --out runs/pretrained/digits-policy
foveal evaluate --precision auto --policies runs/pretrained/digits-policy/policy.safetensors --split test --out runs/pretrained/digits-evaluation
