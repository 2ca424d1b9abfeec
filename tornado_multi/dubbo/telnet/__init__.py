"""Dubbo's text protocol on the service port of 2.5 to 3.0.1 and on QoS of 3.x, without I/O."""
