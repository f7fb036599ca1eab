"""Do graph and network mark the same pixels, on every real slice?

    python benchmarks/parity.py RUN [--data DIR] [--model lgg] [--slices N]

Compares the masks of the run's network in torch with those of the shipped graph (by default the model in the box,
which must be an export of RUN), as volumes, with the model's flips and postprocessing. Fails where more than 0.01 %
of all pixels differ.
"""

import argparse
from pathlib import Path

from tumorseg.datasets.store import prepare
from tumorseg.inference.model import read_model
from tumorseg.inference.predictor import Predictor
from tumorseg.inference.run_folder import read_environment
from tumorseg.inference.torch_runtime import TorchRuntime
from tumorseg.training.parity import enough, measure_parity, refuse_disparity
from tumorseg.training.trained_run import open_run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--data", type=Path, help="by default that of the run's training")
    parser.add_argument("--model", default="lgg", help="the export that is compared")
    parser.add_argument("--slices", type=int, help="compare whole scans until they hold so many; by default all")
    arguments = parser.parse_args()

    shipped, own = read_model(arguments.model), read_model(arguments.run)
    network = open_run(arguments.run).network()
    data = arguments.data or Path(read_environment(arguments.run)["data"])
    scans = prepare(data).scans
    if arguments.slices:
        scans = enough(scans, arguments.slices)
    ways = {
        "torch": Predictor(shipped, runtime=TorchRuntime(network)).probabilities,
        "float32 graph": Predictor(own).probabilities,
        "shipped graph": Predictor(shipped).probabilities,
    }
    pairs = [("torch", "float32 graph"), ("torch", "shipped graph"), ("float32 graph", "shipped graph")]
    found = measure_parity(ways, pairs, scans, shipped.spec)
    print(f"{found[0].slices} slices of {len(scans)} scans in {data}, model {shipped.folder}")
    for parity in found:
        print(parity)
    refuse_disparity(found)


if __name__ == "__main__":
    main()
