"""Where an image meets a model: Scans in, Segmentations out. Only `torch_runtime` imports torch."""
