"""Thin layers between the environments and learning libraries, each of which an extra installs."""
