"""From a task's MJCF to a model: assets, sensors, contacts, looks, randomisation."""
