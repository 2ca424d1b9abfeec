"""The supervisor: sockets, children, decisions. One process, one loop, one inbox.

``state`` is what it knows (plain data), ``decide`` is what it decides (pure: event in, effects
out), ``run`` is the loop that acts. Must not know: zygote code, worker code, Tornado, the app.
"""
