# SPDX-License-Identifier: Apache-2.0
variable "bucket" {
  description = "Name of the state bucket, which exists already."
  type        = string
}

variable "repository" {
  description = "Repository on GitHub, as owner/name, whose workflows deliver; null gives none of them access."
  type        = string
  default     = null
}

variable "session_manager" {
  description = "Whether to make an instance profile with which hosts are reached through Session Manager."
  type        = bool
  default     = false
}
