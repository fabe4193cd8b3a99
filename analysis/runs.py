"""Write all runs of an experiment as one table, a row a run, to a .csv or .parquet file.

python analysis/runs.py --out runs.csv

In Python: `from imbalance_study.studies.report.frames import history, runs`.
"""

import argparse
import sys

from imbalance_study.studies.report import frames

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Write all runs of an experiment as one table.")
    parser.add_argument("--experiment", default="auto", help="name or id; auto: as for report")
    parser.add_argument("--out", default="runs.csv", help="a file .csv or .parquet")
    parser.add_argument("--tracking_uri", default="auto", help="MLflow store or server")
    try:
        print(frames.write_runs(**vars(parser.parse_args())))
    except (ValueError, OSError) as error:
        sys.exit(f"Error: {' '.join(str(error).split())}")
