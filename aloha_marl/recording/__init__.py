"""Films, plots and a person at the window."""
