"""Thin layers between the environments and learning libraries.

Each module needs its library, which an extra of the package installs; nothing here is imported by the
rest of the package.
"""
