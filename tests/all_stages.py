"""Run every stage in the working directory, in one process: python -m tests.all_stages."""

import stages.evaluate
import stages.generate
import stages.prepare
import stages.report
import stages.train
from birnn import params


def main() -> None:
    """In the order of dvc.yaml."""
    models = list(params.load().models)
    stages.generate.main()
    stages.prepare.main()
    for name in models:
        stages.train.main(name)
        stages.evaluate.main(name)
    stages.report.main()


if __name__ == "__main__":
    main()
