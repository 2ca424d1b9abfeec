"""Apps as good Tornado developers write them: nothing is open at the fork that must not be."""
