"""``python -m msg.cli``."""

from msg.cli import main

main()
