"""Agents on the shipped perception: GRPO, PPO and A2C at equal numbers of glimpses, with every baseline."""
