"""Ray Tune: a grid over GRPO's learning rate, one process a trial."""

from pathlib import Path

from ray import init, shutdown, tune


def trial(config: dict) -> None:
    """Train for a moment, and report each update."""
    import foveal_env
    from foveal_agents.base import make_agent

    agent = make_agent("grpo", foveal_env.make_world(glimpses=2), num_scenes=16, **config)
    for logs in agent.train(256):
        tune.report(logs)


init(num_cpus=1, include_dashboard=False)
tuner = tune.Tuner(
    trial,
    param_space={"learning_rate": tune.grid_search([1e-4, 1e-3])},
    tune_config=tune.TuneConfig(metric="accuracy", mode="max"),
    run_config=tune.RunConfig(storage_path=str(Path("runs/tune").absolute()), verbose=0),
)
results = tuner.fit()
best = results.get_best_result()
print(best.config, best.metrics["accuracy"])
assert results.num_errors == 0
assert len(results) == 2
shutdown()
