"""`python -m ldmscene` and `ldmscene`: the command line, which takes a while to load and may be stopped meanwhile."""

import sys

try:
    from ldmscene.cli import main
except KeyboardInterrupt:
    print("\ninterrupted; nothing was changed", file=sys.stderr)
    sys.exit(130)

if __name__ == "__main__":
    main()
