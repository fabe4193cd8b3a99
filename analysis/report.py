"""Write a report of an experiment or of a run: the command `imbalance-study report` as a script.

python analysis/report.py --experiment Default
python analysis/report.py --run RUN_ID --out my_report
"""

import sys

from imbalance_study.cli import main

if __name__ == "__main__":
    main(["report", *sys.argv[1:]])
