"""``python -m genkern.cli``."""

from genkern.cli import main

main()
