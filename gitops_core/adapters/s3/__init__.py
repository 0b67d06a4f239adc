"""Object stores that speak S3's API, over our own HTTP layer."""

from gitops_core.adapters.s3.buckets import S3Buckets as S3Buckets
