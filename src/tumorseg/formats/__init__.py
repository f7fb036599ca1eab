"""Files that hold scans and masks: one module a format, one registry."""

from tumorseg.formats.header import Header
from tumorseg.formats.registry import FORMATS, Format, find_format, split_name

__all__ = ["FORMATS", "Format", "Header", "find_format", "split_name"]
