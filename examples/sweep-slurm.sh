#!/usr/bin/env bash
# A search for settings as a Slurm array: each task takes part in the same search until it is done.
#
#   dvc repro prepare                                        # once, so that all tasks find the data
#   export OPTUNA_STORAGE=postgresql://user:password@host/db # a database that all nodes reach
#   export MLFLOW_TRACKING_URI=https://mlflow.example.org
#   sbatch examples/sweep-slurm.sh
#   birnn sweep --apply                                      # when the array is done
#
# Without OPTUNA_STORAGE the search is kept in sweep.db, which is right for tasks on one node: SQLite
# is not safe on most file systems that nodes share. A task that is killed or requeued costs no more
# than the epoch that it was in.
#SBATCH --job-name=sweep
#SBATCH --array=0-7
#SBATCH --cpus-per-task=2
#SBATCH --mem=2G
#SBATCH --time=04:00:00
#SBATCH --signal=TERM@60
#SBATCH --requeue
set -euo pipefail
cd "${SLURM_SUBMIT_DIR:-.}"
[ -d .venv ] && PATH="$PWD/.venv/bin:$PATH"
echo "task ${SLURM_ARRAY_TASK_ID:?start it with sbatch} takes part in the search"
exec birnn sweep
