"""The runtime over HTTP: route tables, one module a resource.

Belongs here: parse, apply, answer. A handler is a sentence of a dozen lines at most. Banned
here: decisions about files (the services of `hutch.runtime` make them) and sockets
(`hutch.server` has them).
"""
