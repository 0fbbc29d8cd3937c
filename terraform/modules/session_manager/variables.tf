# SPDX-License-Identifier: Apache-2.0
variable "name" {
  description = "Name of the role and of the instance profile."
  type        = string
  default     = "modelyard-hosts"

  validation {
    condition     = can(regex("^[A-Za-z0-9_-]{1,64}$", var.name))
    error_message = "name must be 1 to 64 letters, digits, dashes or underscores."
  }
}
