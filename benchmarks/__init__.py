"""Programs that measure the server from outside, in processes of its own."""
