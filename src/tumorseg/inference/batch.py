"""Many inputs, a mask for each: what `tumorseg segment` does."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from tumorseg.errors import DataError, OutputError, TumorsegError
from tumorseg.inference.inputs import Failure, InputScan, Listing
from tumorseg.inference.loading import Loaded, load
from tumorseg.inference.measure import measure_slices
from tumorseg.inference.outputs import Existing, Wanted, check_output, kept_masks, write_answer
from tumorseg.inference.predictor import Predictor
from tumorseg.inference.read_ahead import ahead, threads
from tumorseg.inference.sequence_choice import NO_CHOICE, SequenceChoice, refuse_useless
from tumorseg.inference.summary import Outcome, Result, SummaryRows, result_of_masks, summary_rows
from tumorseg.progress import Progress, silent
from tumorseg.scan import Scan, Segmentation

WORKERS = 2
"""Threads that read and write while the network computes, where nobody says how many."""


def segment_listing(
    listing: Listing,
    predictor: Predictor,
    output: Path,
    *,
    existing: Existing = "refuse",
    wanted: Wanted | None = None,
    choice: SequenceChoice = NO_CHOICE,
    workers: int = WORKERS,
    progress: Progress = silent,
) -> Outcome:
    """Segment all inputs and write a mask for each and a summary of all; a file that fails does not stop the rest.

    Args:
        listing: what `find_inputs` gives.
        output: folder for the masks, summary.csv and summary.json.
        existing: what happens to outputs that are there already.
        wanted: what is written beside the masks; of the format that the listing was made for.
        choice: what `parse_choice` gives.
        workers: threads that read and write while the network computes; the answers do not depend on it.

    Raises:
        OutputError: an output exists and is not to be replaced, or the folder cannot be written.
        DataError: there was one scan, and it cannot be segmented; or `choice` does not fit the model.
        ModelError: the network does not compute.
    """
    wanted = wanted or Wanted(listing.output_format)
    refuse_useless(choice, predictor.spec.channels)
    was_there = output.exists()
    check_output(listing, output, existing, wanted)
    with summary_rows() as rows, threads(workers) as pool:
        job = _Job(listing, predictor, output, existing, wanted, choice, rows, workers)
        job.run(pool, progress)
        if job.outcome.scans == 0 and len(listing.scans) == 1 and job.outcome.failures:
            if not was_there:
                _remove_empty(output)
            raise _alone(job.outcome.failures)
        rows.write(output, job.outcome, predictor.spec)
    return job.outcome


@dataclass
class _Job:
    """One run over a listing.

    Results come in the order of the listing; `turn` is the first that is not written to the summary yet.
    """

    listing: Listing
    predictor: Predictor
    output: Path
    existing: Existing
    wanted: Wanted
    choice: SequenceChoice
    rows: SummaryRows
    workers: int
    outcome: Outcome = field(default_factory=Outcome)
    turn: int = 0
    done: dict[int, Result | None] = field(default_factory=dict)
    writing: dict[int, "Future[Result | list[Failure]]"] = field(default_factory=dict)
    underway: dict[Scan, tuple[int, Loaded]] = field(default_factory=dict)

    def run(self, pool: ThreadPoolExecutor, progress: Progress) -> None:
        self.outcome.failures.extend(self.listing.failures)
        for segmentation in self.predictor.segment_all(self._readable(pool, progress), failed=self._failed):
            index, loaded = self.underway.pop(segmentation.scan)
            self.writing[index] = pool.submit(self._write, index, segmentation, loaded)
            self._collect(most=2 * self.workers)
        self._collect(most=0)

    def _readable(self, pool: ThreadPoolExecutor, progress: Progress) -> Iterator[Scan]:
        """Scans in their order, but for those that have their masks already or cannot be read."""
        entries = progress.track(enumerate(self.listing.scans), what="Segmenting scans", total=len(self.listing.scans))
        for (index, _), found in ahead(entries, self._read, pool, count=self.workers, size=_bytes):
            if isinstance(found, Result):
                self._finish(index, found)
                continue
            self.outcome.failures.extend(found.failures)
            if found.scan is None:
                self._finish(index, None)
            else:
                self.underway[found.scan] = index, found
                yield found.scan

    def _read(self, item: tuple[int, InputScan]) -> Loaded | Result:
        _, entry = item
        if self.existing == "resume" and (mask := kept_masks(entry, self.output, self.wanted)) is not None:
            return result_of_masks(entry.id, self._named(entry.sources), entry.targets, mask)
        channels = self.predictor.spec.channels
        return load(entry, choice=self.choice, wanted=channels, named=self.listing.unpacked.named)

    def _write(self, index: int, segmentation: Segmentation, loaded: Loaded) -> Result | list[Failure]:
        entry, scan = self.listing.scans[index], segmentation.scan
        try:
            masks = write_answer(segmentation, loaded, entry, self.output, self.wanted, self.predictor.spec)
        except DataError as error:
            reason = self.listing.unpacked.named(str(error))
            return [Failure(self._named(scan.sources)[0], reason)]
        return Result(
            id=scan.id,
            status="segmented",
            sources=self._named(scan.sources),
            masks=masks,
            slices=measure_slices(segmentation.mask, spacing=scan.spacing),
            measurements=dict(segmentation.measurements),
            warnings=(*loaded.warnings, *segmentation.warnings),
        )

    def _failed(self, scan: Scan, error: TumorsegError) -> None:
        index, _ = self.underway.pop(scan)
        reason = self.listing.unpacked.named(str(error))
        self.outcome.failures.extend(Failure(source, reason) for source in self._named(scan.sources))
        self._finish(index, None)

    def _collect(self, most: int) -> None:
        """Wait until at most so many answers are being written."""
        for index in sorted(self.writing):
            future = self.writing[index]
            if len(self.writing) > most or future.done():
                answer = future.result()
                del self.writing[index]
                if isinstance(answer, Result):
                    self._finish(index, answer)
                else:
                    self.outcome.failures.extend(answer)
                    self._finish(index, None)

    def _finish(self, index: int, result: Result | None) -> None:
        """Write to the summary all whose turn it is."""
        self.done[index] = result
        while self.turn in self.done:
            answer = self.done.pop(self.turn)
            self.turn += 1
            if answer is not None:
                self.outcome.count(answer)
                self.rows.add(answer)

    def _named(self, sources: tuple[Path, ...]) -> tuple[Path, ...]:
        return tuple(Path(self.listing.unpacked.named(str(source))) for source in sources)


def _bytes(found: Loaded | Result) -> int:
    return found.scan.pixels.nbytes if isinstance(found, Loaded) and found.scan is not None else 1


def _alone(failures: list[Failure]) -> DataError:
    """What went wrong with the only scan there was."""
    more = len(failures) - 1
    reasons = {failure.reason for failure in failures}
    also = f" (and {more} more file{'s' * (more > 1)})" if more and len(reasons) > 1 else ""
    return DataError(failures[0].reason + also)


def _remove_empty(folder: Path) -> None:
    try:
        folder.rmdir()
    except OSError as error:
        raise OutputError(f"{folder} cannot be tidied away: {error.strerror}") from error
