"""Many inputs, a mask file for each image file: what `tumorseg segment` does."""

from collections.abc import Iterator
from pathlib import Path

from tumorseg.errors import TumorsegError
from tumorseg.inference.inputs import Failure, Listing
from tumorseg.inference.loading import Loaded, load
from tumorseg.inference.measure import slice_areas
from tumorseg.inference.outputs import Existing, check_output, kept_masks, write_masks
from tumorseg.inference.predictor import Predictor
from tumorseg.inference.summary import Outcome, Result, result_of_masks, write_summary
from tumorseg.progress import Progress, silent
from tumorseg.scan import Scan


def segment_listing(
    listing: Listing,
    predictor: Predictor,
    output: Path,
    *,
    existing: Existing = "refuse",
    progress: Progress = silent,
) -> Outcome:
    """Segment all inputs and write a mask for each and a summary of all; a file that fails does not stop the rest.

    Args:
        listing: what `find_inputs` gives.
        output: folder for the masks, summary.csv and summary.json.
        existing: what happens to outputs that are there already.

    Raises:
        OutputError: an output exists and is not to be replaced, or the folder cannot be written.
        ModelError: the network does not compute.
    """
    check_output(listing, output, existing)
    failures: list[Failure] = list(listing.failures)
    results: dict[int, Result] = {}
    underway: dict[Scan, tuple[int, Loaded]] = {}

    def readable() -> Iterator[Scan]:
        """Read the scans one after the other, but for those that have their masks already."""
        for index, entry in enumerate(progress.track(listing.scans, what="Segmenting scans", total=len(listing.scans))):
            if existing == "resume" and (mask := kept_masks(entry, output)) is not None:
                results[index] = result_of_masks(entry, mask)
                continue
            loaded = load(entry)
            failures.extend(loaded.failures)
            if loaded.scan is not None:
                underway[loaded.scan] = index, loaded
                yield loaded.scan

    def failed(scan: Scan, error: TumorsegError) -> None:
        del underway[scan]
        failures.extend(Failure(source, str(error)) for source in scan.sources)

    for segmentation in predictor.segment_all(readable(), failed=failed):
        index, loaded = underway.pop(segmentation.scan)
        write_masks(segmentation.mask, loaded.targets, listing.scans[index].format, output)
        results[index] = Result(
            id=segmentation.scan.id,
            status="segmented",
            sources=segmentation.scan.sources,
            masks=loaded.targets,
            areas=tuple(map(int, slice_areas(segmentation.mask))),
            measurements=dict(segmentation.measurements),
            warnings=(*loaded.warnings, *segmentation.warnings),
        )
    outcome = Outcome(tuple(results[index] for index in sorted(results)), tuple(failures))
    write_summary(output, outcome, predictor.spec)
    return outcome
