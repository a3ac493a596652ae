"""Optuna: a search for GRPO's learning rate, with pruning. Every trial has the same seed and the same scenes."""

import optuna

import foveal_env
from foveal_agents.base import make_agent
from foveal_agents.rollout import evaluate

train, validation = (foveal_env.make_world(split=split, glimpses=2) for split in ("train", "validation"))


def accuracy(trial: optuna.Trial) -> float:
    """Return the accuracy on validation scenes after a short training."""
    agent = make_agent(
        "grpo", train, num_scenes=16, learning_rate=trial.suggest_float("learning_rate", 1e-4, 1e-2, log=True)
    )
    for step, logs in enumerate(agent.train(256)):
        trial.report(logs["accuracy"], step)
        if trial.should_prune():
            raise optuna.TrialPruned
    return evaluate(validation, agent, scenes=64).accuracy[-1]


study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=0))
study.optimize(accuracy, n_trials=3)
print(study.best_params, study.best_value)
assert 0 <= study.best_value <= 1
