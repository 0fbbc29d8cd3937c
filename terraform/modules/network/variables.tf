# SPDX-License-Identifier: Apache-2.0
variable "name" {
  description = "Name of the environment; it prefixes every resource and is the tag Environment."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,31}$", var.name))
    error_message = "name must be 1 to 32 lower-case letters, digits or dashes, and start with a letter."
  }
}

variable "cidr" {
  description = "IPv4 network of the VPC, /16 to /24; the public subnet is its first /24."
  type        = string

  validation {
    condition = can(cidrnetmask(var.cidr)) && try(
      cidrhost(var.cidr, 0) == split("/", var.cidr)[0]
      && tonumber(split("/", var.cidr)[1]) >= 16
      && tonumber(split("/", var.cidr)[1]) <= 24, false
    )
    error_message = "cidr must be an IPv4 network of /16 to /24 without host bits, such as 10.77.0.0/20."
  }
}

variable "allowed_ssh_cidrs" {
  description = "IPv4 networks that may open SSH connections; an empty list closes port 22."
  type        = list(string)

  # A /1 twice is the whole Internet too, hence a bound and not a list of forbidden values.
  validation {
    condition = alltrue([
      for cidr in var.allowed_ssh_cidrs :
      can(cidrnetmask(cidr)) && try(tonumber(split("/", cidr)[1]) >= 8, false)
    ])
    error_message = "allowed_ssh_cidrs takes IPv4 networks of /8 or smaller (never 0.0.0.0/0 or ::/0): name your office's or VPN's, such as 203.0.113.7/32."
  }
}

variable "availability_zone" {
  description = "Zone of the public subnet; null takes the first zone of the region."
  type        = string
  default     = null
}
