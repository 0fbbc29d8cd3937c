# SPDX-License-Identifier: Apache-2.0
variable "name" {
  description = "Prefix of the two roles' names."
  type        = string
  default     = "modelyard"
}

variable "repository" {
  description = "The repository on GitHub whose workflows get access, as owner/name."
  type        = string

  validation {
    condition     = can(regex("^[A-Za-z0-9-]+/[A-Za-z0-9._-]+$", var.repository))
    error_message = "repository must be owner/name, without wildcards: whoever matches it gets the cloud."
  }
}

variable "branch" {
  description = "The one branch whose workflows may apply."
  type        = string
  default     = "main"

  validation {
    condition     = can(regex("^[A-Za-z0-9._/-]+$", var.branch))
    error_message = "branch must be one branch's name, without wildcards."
  }
}

variable "region" {
  description = "The one region that the apply role works in."
  type        = string
}

variable "state_bucket_arn" {
  description = "ARN of the state bucket, from the state module."
  type        = string
}
