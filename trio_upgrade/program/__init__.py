"""A server as a program of its own: what starts it, what stops it, and the command line.

Only `run` is public, as `trio_upgrade.run`. Everything else here is internal and may change.
"""

from ._run import run

__all__ = ["run"]
