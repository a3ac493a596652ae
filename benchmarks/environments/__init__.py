"""What a gaze is worth on each environment."""
