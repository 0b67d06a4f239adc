"""`python -m sealoop`."""

from sealoop.main import main

main()
