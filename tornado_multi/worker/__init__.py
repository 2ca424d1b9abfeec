"""The child side: order after the fork, heartbeat, accepting, the draining server, the end.

Must not know: supervisor code, zygote code.
"""
