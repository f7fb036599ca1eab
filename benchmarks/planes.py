"""The rule that tells the plane of a figshare slice: fits it, says how often it is right, and writes planes.npz.

    python benchmarks/planes.py --data figshare [--write]

150 slices, drawn at random from the 2,488 at hand, were sorted by eye; their numbers are below. The share that is right
is that of ten folds by patient.
"""

import argparse
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tumorseg.datasets.store import prepare
from tumorseg.studies.exploration import planes

SORTED = {
    "axial": """33 36 65 115 119 128 131 140 148 162 172 719 725 936 964 975 1006 1288 1318 1327 1333 1362 1412 1417
        1431 1858 1891 1906 1928 1987 2008 2011 2061 2177 2204 2227 2238 2354 2362 2369 2374 2385 2392""",
    "coronal": """233 240 292 309 318 336 371 426 755 804 1089 1149 1159 1161 1461 1481 1482 1509 1515 1516 1528 1529
        1548 1551 1562 1584 1606 1616 2248 2312 2335 2342 2440 2492 2506 2512 2524 2527 2548 2561 2621 2687 2699 2716
        2729""",
    "sagittal": """461 480 482 488 494 504 507 509 518 541 561 570 598 613 617 622 623 632 633 662 665 667 680 698 822
        830 853 896 899 910 1172 1174 1177 1207 1211 1219 1228 1231 1234 1255 1267 1270 1280 1656 1664 1667 1668 1704
        1780 1826 2752 2756 2774 2815 2819 2823 2859 2905 2950 2957 2983 3032""",
}
"""Numbers of the published files, by plane."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--write", action="store_true", help="write the rule into the package")
    options = parser.parse_args()
    store = prepare(options.data)
    plane = {number: name for name, numbers in SORTED.items() for number in numbers.split()}
    entries = [entry for entry in store.stored if entry.id in plane]
    features = np.stack([planes.gradients(store.pixels(entry)[0, ..., 0]) for entry in entries])
    truth = np.array([planes.PLANES.index(plane[entry.id]) for entry in entries])
    patients = [entry.patient for entry in entries]
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.05, max_iter=2000))
    folds = StratifiedGroupKFold(10, shuffle=True, random_state=0)
    told = cross_val_predict(model, features, truth, cv=folds, groups=patients)
    print(f"right: {(told == truth).sum()} of {len(truth)} slices, of {len(set(patients))} patients")
    scale, linear = model.fit(features, truth)
    weights = linear.coef_.T / scale.scale_[:, None]
    bias = linear.intercept_ - (scale.mean_ / scale.scale_) @ linear.coef_.T
    if options.write:
        path = Path(planes.__file__).with_name("planes.npz")
        np.savez_compressed(path, weights=weights.astype(np.float32), bias=bias.astype(np.float32))
        print(f"{path}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
