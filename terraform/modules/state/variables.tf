# SPDX-License-Identifier: Apache-2.0
variable "bucket" {
  description = "Name of the bucket; S3 names are unique in the world, so put your account's number or company in it."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$", var.bucket))
    error_message = "bucket must be 3 to 63 lower-case letters, digits or dashes, such as modelyard-state-123456789012."
  }
}
