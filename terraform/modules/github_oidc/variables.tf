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

variable "environment" {
  description = "GitHub's environment whose jobs may apply; its rules must let the branch main in and no other."
  type        = string
  default     = "production"

  validation {
    condition     = can(regex("^[A-Za-z0-9._-]+$", var.environment))
    error_message = "environment must be the name of one of the repository's environments, without wildcards."
  }
}

variable "preview_environment" {
  description = "GitHub's environment whose jobs look at the hosts for a pull request; its rules say who lets them."
  type        = string
  default     = "preview"

  validation {
    condition     = can(regex("^[A-Za-z0-9._-]+$", var.preview_environment))
    error_message = "preview_environment must be the name of one of the repository's environments, without wildcards."
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

variable "hosts_role_arn" {
  description = "ARN of the hosts' role, from the session_manager module; null where they are reached by SSH alone."
  type        = string
  default     = null
}
