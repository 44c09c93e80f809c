"""What every HTTP API of Hutch is made of: a table of routes, and what reads it.

Belongs here: the table, views over Quart-Trio, dispatch, OpenAPI, CORS. Banned here: an endpoint,
a service, a token: `runtime.http` and `control.http` bring theirs.
"""
