"""What the three roles share: messages, channels, the scoreboard, Linux calls.

Must not know: supervisor, zygote, worker, Tornado.
"""
