"""What the docs claim, measured. ``make bench`` runs everything; ``python -m benchmarks NAME`` one."""
