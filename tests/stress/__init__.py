"""What the server promises under load, under attack and at its end, put to the test.

`python -m tests.stress` starts the server in a process of its own for each scenario, drives it over loopback, checks
every reply, and says for each promise what was measured. docs/reliability.md has the figures.
"""
