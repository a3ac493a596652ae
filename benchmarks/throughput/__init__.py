"""Speed of the environment: the native batch against singles, time outside the encoder, time to import."""
