"""``python -m imbalance_study`` is the same as ``imbalance-study``."""

from imbalance_study.cli import main

if __name__ == "__main__":
    main()
