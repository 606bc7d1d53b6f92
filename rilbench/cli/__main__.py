"""`python -m rilbench.cli`."""

from rilbench.cli.main import main

if __name__ == "__main__":
    main()
