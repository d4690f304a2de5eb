"""`python -m reelport`: the command line."""

from reelport.cli.main import main

main()
