"""``python -m cli`` is ``gauntlet``."""

from cli import main

if __name__ == "__main__":
    main()
