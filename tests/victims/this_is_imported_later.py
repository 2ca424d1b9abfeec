"""Gives an app a line that imports something after it has made its client."""
