"""The front doors: one environment or many, two agents or both arms as one."""
