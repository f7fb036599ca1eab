"""The page and the HTTP interface: uploads in, masks out. No pixel is read here but in worker processes."""
