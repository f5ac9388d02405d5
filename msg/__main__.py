"""``python -m msg``."""

from msg.cli import main

if __name__ == "__main__":
    main()
