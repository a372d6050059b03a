"""A task on n simulations: starts, steps, stages, rewards, observations, states."""
