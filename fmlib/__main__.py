"""`python -m fmlib` is the command `fmlib`."""

from fmlib.cli import main

main()
