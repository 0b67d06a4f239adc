"""From Argo CD Image Updater to objects of ours: what `sealoop images import` decides."""
