"""The scenarios of failure, run against this project and against others; ``make bench-reliability``."""
