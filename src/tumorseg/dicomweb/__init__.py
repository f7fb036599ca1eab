"""Studies from and to an archive that speaks DICOMweb (PS3.18): searched, pulled, segmented, stored."""
