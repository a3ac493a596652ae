"""The page of the environment's speed."""

from typing import Any

from benchmarks.files import PAGES
from benchmarks.markdown import put_in, table


def speed_table(contents: dict[str, Any]) -> str:
    """Return all figures."""
    low, high = contents["native_over_sync_64_range"]
    least, most = contents["outside_encoder_share_256_range"]
    share = "share of a step outside the encoder, 256 environments"
    lines = [
        ["steps/s, native batch of 64", f"{contents['native_steps_per_second_64']:,}"],
        ["steps/s, `SyncVectorEnv` of 64 singles", f"{contents['sync_steps_per_second_64']:,}"],
        ["native batch over `SyncVectorEnv`", f"{contents['native_over_sync_64']} x ({low} to {high})"],
        [share, f"{contents['outside_encoder_share_256']:.1%} ({least:.1%} to {most:.1%})"],
        [
            "the same on JPEG files of 64 to 1,024 px, in the steps in which no episode begins",
            f"{contents['outside_encoder_share_256_mixed_sizes']:.1%}",
        ],
        [
            "the same, with the reading of 256 files for each episode of 4 glimpses",
            f"{contents['outside_encoder_share_256_mixed_sizes_reading_included']:.1%}",
        ],
        ["`python train.py`, without the set-up: time", f"{contents['main_job_seconds']} s"],
        ["`python train.py`, without the set-up: peak memory", f"{contents['main_job_peak_gb']} GB"],
        ["`import foveal_env` after gymnasium", f"{contents['import_seconds']:.4f} s"],
    ]
    return table(["what", "measured"], lines)


def report(contents: dict[str, Any]) -> None:
    """Write the page."""
    caption = (
        f"{contents['threads']} CPU threads. Medians of {contents['rounds']} rounds, in brackets the range. "
        f"The share on composed scenes includes resets, and is that of {contents['processes']} processes. "
        f"`{contents['command']}` makes it again."
    )
    put_in(PAGES / "speed.md", "throughput", f"{speed_table(contents)}\n\n{caption}")
    print(speed_table(contents))
