"""`python -m tumorseg` is the `tumorseg` command."""

from tumorseg.cli.app import main

if __name__ == "__main__":
    main()
