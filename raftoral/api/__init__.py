"""The HTTP door of a node: an ASGI application and the server that runs it on the node's loop.

Owns paths, statuses and JSON shapes; never decides anything about a run. The only starlette and
uvicorn.
"""
