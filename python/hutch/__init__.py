"""Hutch: a workspace runtime. The server inside a microVM that gives a coding agent its hands."""
