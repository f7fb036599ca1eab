"""A client of `tumorseg serve`, for programs: scans out, masks and numbers back. Needs neither torch nor a model."""

from tumorseg.client.answers import JobState, ModelInfo, Progress
from tumorseg.client.connection import Client, Job
from tumorseg.client.result import Result, ScanResult

__all__ = ["Client", "Job", "JobState", "ModelInfo", "Progress", "Result", "ScanResult"]
