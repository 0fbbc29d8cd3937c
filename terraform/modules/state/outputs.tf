# SPDX-License-Identifier: Apache-2.0
output "bucket" {
  description = "Name of the state bucket, for `terraform init -backend-config=bucket=...`."
  value       = aws_s3_bucket.this.bucket
}

output "bucket_arn" {
  description = "ARN of the state bucket, for the policies of those who may read or write it."
  value       = aws_s3_bucket.this.arn
}
