"""``python -m tornado_multi`` is the console script ``tornado-multi``."""

from tornado_multi.cli import main

if __name__ == "__main__":
    main()
