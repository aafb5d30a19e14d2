"""`python -m streamapp`."""

from streamapp.cli import main

main()
