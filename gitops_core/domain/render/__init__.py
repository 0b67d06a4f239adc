"""From the files of a folder to objects: what kustomize is told, and how plain manifests are read."""
