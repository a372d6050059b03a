"""Videos and plots of episodes, and playback in a window."""
