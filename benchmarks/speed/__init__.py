"""How fast the server is, beside its peers and beside what Trio itself costs: `python -m benchmarks`.

From the bottom up: `wire` knows the bytes, `connections` opens and exchanges, `loads` repeat an exchange while a
`meter` runs, `works` name what is measured, `peers` name whom; `process` runs a server of `servers`, `rounds` measures
them in turn, `figures` holds what came out, and `table`, `picture` and `guard` make something of it.
"""
