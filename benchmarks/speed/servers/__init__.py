"""The servers under test, each as its documentation would have it, without compression and without an access log.

What each does on its port, as far as it can:

    GET /               answers `hello`
    GET /fields         the same with twenty fields
    POST /              reads the body at once, and answers its length
    POST /upload        reads it in pieces, and answers its length
    GET /download       sends a large content at once
    GET /stream         sends it in pieces, as they are made
    GET /file           sends it from a file
    GET /events         streams events that are numbered, beginning with the last one
    POST /events        makes the next event
    DELETE /events      ends every stream

After an upgrade to `echo`, or as a WebSocket, it echoes. The 101 to an upgrade with a body tells the body's length. A
message of a WebSocket on /broadcast goes to all WebSockets there.
"""
