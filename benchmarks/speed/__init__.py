"""How fast the server is, beside its peers and beside what Trio itself costs: `python -m benchmarks`.

From the bottom up: `answers` is what servers and load generator agree on, `wire` knows the bytes, and `content` a large
response; `connections` opens and receives, over TCP or TLS, `exchanges` are the requests with their responses. `loads`
repeat an exchange or a message while a `meter` runs, as `transfers` do with large bodies, and `event_streams` with
events. `process` runs a server of `servers` with its `files`; a kind of `work` is done with it. `works` name what is
measured, `peers` name whom; `rounds` measures them in turn, `figures` holds what came out, and `table`, `picture` and
`guard` make something of it.
"""
