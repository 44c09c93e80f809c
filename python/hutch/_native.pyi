"""The Rust extension: what it promises, in Python's words. Held to the build by stubtest."""

__version__: str
DEBUG: bool
