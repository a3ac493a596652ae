"""The rows of the glimpse literature: each with perceptions, policies and baselines of its own."""
