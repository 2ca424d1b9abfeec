"""Who accepts: one port and several processes, in four ways that a Tornado service can have."""
