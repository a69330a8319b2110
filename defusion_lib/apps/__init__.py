"""Applications: folders of photos, the explorer, maps beside a photo."""
