"""The runtime inside the VM: files and what belongs to them, as services without HTTP.

Belongs here: one module a service, and `open_runtime`, which owns them all. Banned here:
Quart, ASGI and status codes (they live in `hutch.runtime.http`), and imports of the gateway,
the control plane or the SDK.
"""
