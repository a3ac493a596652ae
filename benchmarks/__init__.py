"""What is timed and compared: ``python -m benchmarks.NAME`` writes results/NAME.json and its page in docs/results.

NAME is agents, images, literature, search or throughput; a folder has one file for each question.
``python -m benchmarks.NAME --report`` makes page and plots again from the results alone.
"""
