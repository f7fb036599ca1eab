"""What the fitted temperature does to the probabilities of patients whom a run never saw.

    python benchmarks/calibration.py RUN … [--data DIR] [--part test]

Of the pixels inside the head, see docs/metrics.md: expected calibration error (15 bins) and Brier score, with the
logits as they are and divided by the temperature that the validation patients chose. Of several runs, as the folds of
a cross-validation, the pixels of all parts count together.
"""

import argparse
from pathlib import Path

from tumorseg.datasets.split import read_split
from tumorseg.datasets.store import prepare
from tumorseg.inference.model import Model, read_model
from tumorseg.inference.predictor import Predictor
from tumorseg.inference.run_folder import read_environment
from tumorseg.metrics.calibration import Reliability, reliability
from tumorseg.metrics.head import head_mask


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--data", type=Path, help="by default that of the first run's training")
    parser.add_argument("--part", default="test", choices=("test", "val"))
    options = parser.parse_args()
    store = prepare(options.data or Path(read_environment(options.runs[0])["data"]))
    counted: dict[str, list[Reliability]] = {"as they are": [], "with the temperature": []}
    for run in options.runs:
        fitted, split = read_model(run), read_split(run / "split.csv")
        plain = Model(fitted.spec.model_copy(update={"temperature": 1.0}), fitted.folder)
        print(f"{run.name}: temperature {fitted.spec.temperature:g}")
        for scan in store.scans_of(split, options.part):
            assert scan.reference is not None
            flair = scan.channels.index("flair") if "flair" in scan.channels else 0
            inside = head_mask(scan.pixels[..., flair])
            for words, model in zip(counted, (plain, fitted), strict=True):
                probability = Predictor(model).probabilities(scan)
                counted[words].append(reliability(probability, scan.reference, inside))
    print(f"{options.part}, {len(counted['as they are'])} scans")
    for words, parts in counted.items():
        joined = Reliability.joined(parts)
        print(f"{words:22} ECE {joined.ece:.4f}   Brier {joined.brier:.4f}")


if __name__ == "__main__":
    main()
