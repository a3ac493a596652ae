"""Stable-Baselines3's view of a batch of Gymnasium."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv, VectorWrapper
from stable_baselines3.common.vec_env import VecEnv


class Sb3VecEnv(VecEnv):
    """Stable-Baselines3's view of a batch of Gymnasium, which it refuses as it is.

    ``PPO("MlpPolicy", Sb3VecEnv(gym.make_vec("foveal_env/Classify-v0", num_envs=64)))``

    The batch is the native one, any other vector environment, or either in Gymnasium's vector wrappers. It resets
    itself in the same step, as Stable-Baselines3 expects.

    Args:
        batch: vector environment in the mode "SameStep".

    Raises:
        TypeError: `batch` is no vector environment.
        ValueError: it resets itself in another mode, or its metadata does not tell the mode.
    """

    def __init__(self, batch: VectorEnv):
        if not isinstance(batch, VectorEnv):
            raise TypeError(f"Sb3VecEnv takes a vector environment, as of gym.make_vec, got {type(batch).__name__}")
        mode = (batch.metadata or {}).get("autoreset_mode")
        if mode is None or AutoresetMode(mode) != AutoresetMode.SAME_STEP:
            told = "its metadata tells none" if mode is None else f"got {AutoresetMode(mode).value!r}"
            raise ValueError(f"Stable-Baselines3 needs autoreset_mode 'SameStep', {told}; make the batch in that mode")
        self.batch, self.render_mode = batch, batch.render_mode
        super().__init__(batch.num_envs, batch.single_observation_space, batch.single_action_space)

    def reset(self) -> np.ndarray | dict[str, np.ndarray]:
        """Begin new episodes; return the observations [num_envs, ...]."""
        seeds: Any = None if all(seed is None for seed in self._seeds) else list(self._seeds)
        if any(self._options):
            raise ValueError("options of a reset are not passed through Stable-Baselines3; reset the batch itself")
        observations, infos = self.batch.reset(seed=seeds)
        self._reset_seeds()
        self._reset_options()
        self.reset_infos = self._rows(infos)
        return observations

    def step_async(self, actions: np.ndarray) -> None:
        """Remember the actions [num_envs, ...]."""
        self._actions = actions

    def step_wait(self) -> Any:
        """Step. If an episode ended, its info has "terminal_observation", and the observation is the next episode's.

        "TimeLimit.truncated" says whether it was cut short, and did not end by itself.
        """
        observations, rewards, terminated, truncated, infos = self.batch.step(self._actions)
        ended, rows = terminated | truncated, self._rows(infos)
        for row in np.flatnonzero(ended).tolist():
            statistics = {key: infos[key] for key in ("episode", "_episode") if key in infos}  # of Gymnasium's wrapper
            rows[row] = {
                **_of_row({**statistics, **infos.get("final_info", {})}, row),
                "terminal_observation": _row(infos["final_obs"], row),
                "TimeLimit.truncated": bool(truncated[row] and not terminated[row]),
            }
        return observations, rewards.astype(np.float32), ended, rows

    def _rows(self, infos: dict[str, Any]) -> list[dict[str, Any]]:
        told = {key: value for key, value in infos.items() if not key.lstrip("_").startswith("final_")}
        return [_of_row(told, row) for row in range(self.num_envs)]

    def close(self) -> None:
        """Close the batch."""
        self.batch.close()

    def get_images(self) -> Sequence[Any]:
        """Return a drawing of each row, [h, w, 3] uint8, or None."""
        return self.batch.render() or [None] * self.num_envs

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """Return an attribute of the batch, or of what it wraps, once for each row asked for."""
        return [_attribute(self.batch, attr_name)] * len(list(self._get_indices(indices)))

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Refuse: the rows are one batch, and have no attributes of their own."""
        raise TypeError(f"the rows of a batch share all attributes; cannot set {attr_name!r}")

    def env_method(self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any) -> list[Any]:
        """Refuse: the rows are one batch, and have no methods of their own."""
        raise TypeError(f"the rows of a batch have no methods of their own; cannot call {method_name!r}")

    def env_is_wrapped(self, wrapper_class: type, indices: Any = None) -> list[bool]:
        """Return False for each row: a batch takes no wrappers of single environments."""
        return [False] * len(list(self._get_indices(indices)))


def _attribute(batch: VectorEnv, name: str) -> Any:
    """Return an attribute of a batch, or of the batches that it wraps, the outermost first."""
    while isinstance(batch, VectorWrapper) and not hasattr(batch, name):
        batch = batch.env
    return getattr(batch, name)


def _of_row(infos: dict[str, Any], row: int) -> dict[str, Any]:
    """Return the info of a row, of infos in the form of Gymnasium's vector environments, which may be nested.

    An entry without a mask of its own holds in all rows.
    """
    of_row = {}
    for key, value in infos.items():
        if key.startswith("_") and key[1:] in infos:
            continue
        mask = infos.get(f"_{key}")
        if mask is None or mask[row]:
            of_row[key] = _of_row(value, row) if isinstance(value, dict) else _plain(value, row)
    return of_row


def _plain(values: Any, row: int) -> Any:
    """Return a row of an array in Python's own numbers."""
    value = values[row]
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value


def _row(observations: Any, row: int) -> Any:
    """Return a row of observations: an array, or a dictionary or array of those."""
    if isinstance(observations, dict):
        return {key: _row(part, row) for key, part in observations.items()}
    return observations[row]
