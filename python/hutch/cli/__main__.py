"""`python -m hutch.cli` is `hutch`."""

from hutch.cli import main

main(prog_name="hutch")
