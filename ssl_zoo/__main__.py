"""`python -m ssl_zoo`."""

from ssl_zoo.cli import main

main()
