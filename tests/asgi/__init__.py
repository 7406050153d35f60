"""ASGI applications on `trio_upgrade.asgi`."""
