# SPDX-License-Identifier: Apache-2.0
resource "aws_s3_bucket" "this" {
  # checkov:skip=CKV_AWS_18:Its versions say what changed and when; a log would need a bucket of its own.
  # checkov:skip=CKV_AWS_144:The state is of the same region as what it describes.
  # checkov:skip=CKV_AWS_145:S3's own key encrypts it; another would be managed by the same people.
  # checkov:skip=CKV2_AWS_61:Old versions are the way back, and small.
  # checkov:skip=CKV2_AWS_62:Nobody waits for its events.
  bucket = var.bucket
  tags   = { Name = var.bucket, managed-by = "modelyard" }

  lifecycle {
    # It holds the memory of everything else that Terraform made.
    prevent_destroy = true
  }
}

# A damaged or lost state is an older version away.
resource "aws_s3_bucket_versioning" "this" {
  bucket = aws_s3_bucket.this.id

  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "this" {
  bucket = aws_s3_bucket.this.id

  rule {
    apply_server_side_encryption_by_default {
      sse_algorithm = "AES256"
    }
  }
}

resource "aws_s3_bucket_public_access_block" "this" {
  bucket = aws_s3_bucket.this.id

  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}
