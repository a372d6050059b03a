"""``python -m aloha_marl.cli``, the same as ``aloha-marl``."""

from aloha_marl.cli import main

main()
