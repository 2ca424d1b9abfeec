"""Ways to replace instances behind nginx, under load, one after the other; ``make bench-rolling``."""
