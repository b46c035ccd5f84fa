"""`python -m ldmscene`: the command line."""

from ldmscene.cli import main

if __name__ == "__main__":
    main()
