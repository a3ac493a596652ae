#!/usr/bin/env bash
# Trains the policy `search` on the perception of that name, then evaluates it on test scenes.
# The file is runs/pretrained/search-policy/policy.safetensors.
set -euo pipefail
foveal policy --perception search --canvas 250 --glimpses 12 --reward gain --precision auto --grpo.gamma 0.3 --grpo.ent_coef 0.02 --grpo.shared false --grpo.grid 16 --grpo.inhibition_radius 0.1 --grpo.imitation 1 --grpo.num_scenes 32 --grpo.group_size 8 --grpo.batch_size 512 --train_glimpses 300000 --acts_only --out runs/pretrained/search-policy
foveal evaluate --perception search --canvas 250 --glimpses 12 --precision auto --policies runs/pretrained/search-policy/policy.safetensors --split test --out runs/pretrained/search-evaluation
