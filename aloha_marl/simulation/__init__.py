"""The model in motion, many at once, and what its sensors say."""
