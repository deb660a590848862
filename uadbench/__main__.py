"""`python -m uadbench`: the same as the command `uadbench`."""

from uadbench.cli.main import main

if __name__ == "__main__":
    main()
