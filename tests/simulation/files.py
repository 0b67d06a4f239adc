"""The application's files in Git: Deployments with one marked line each, and ConfigMaps.

image: registry.example.com/team/web:1.0.0 # {"$imagepolicy": "default:web"}
                                     value
"""

from __future__ import annotations

import re

IMAGE, OTHER_IMAGE = "registry.example.com/team/web", "registry.example.com/team/api"
IMAGES = {"web": IMAGE, "api": OTHER_IMAGE}
"""What each policy chooses tags of."""
_MARKED = re.compile(rb"(?P<before>image: [^:\s]+:)(?P<value>\S+)(?P<after> # )")


def value_in(body: bytes) -> str:
    """Return what the marked line says behind the image's name."""
    found = _MARKED.search(body)
    assert found is not None, "the marked line is gone"
    return found["value"].decode()


def with_value(body: bytes, value: str) -> bytes:
    return _MARKED.sub(lambda found: found["before"] + value.encode() + found["after"], body)


def deployment(value: str, policy: str = "web") -> bytes:
    image = IMAGES[policy]
    marker = f'# {{"$imagepolicy": "default:{policy}"}}'
    return f"""apiVersion: apps/v1
kind: Deployment
metadata:
  name: {policy}
  namespace: default
spec:
  replicas: 1
  selector: {{matchLabels: {{app: {policy}}}}}
  template:
    metadata: {{labels: {{app: {policy}}}}}
    spec:
      containers:
        - name: {policy}
          image: {image}:{value} {marker}
""".encode()


def config_map(name: str, value: int) -> bytes:
    metadata = f"{{name: {name}, namespace: default}}"
    return f'apiVersion: v1\nkind: ConfigMap\nmetadata: {metadata}\ndata: {{value: "{value}"}}\n'.encode()
