"""The servers under test, each as its documentation would have it, without compression and without an access log.

On one port each answers GET / with `hello`, echoes after an upgrade (to `echo`, or as a WebSocket), and hands on
every WebSocket message to all WebSockets on /broadcast, as far as it can do these things.
"""
