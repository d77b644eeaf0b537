"""The Runtime, Extensions and Telemetry APIs: what an execution environment's own processes may ask of the platform.

`protocol` decides without a socket, `runtime`, `extensions` and `telemetry` are the endpoints, `api` is the socket.
"""
