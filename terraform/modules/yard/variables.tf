# SPDX-License-Identifier: Apache-2.0
variable "name" {
  description = "Name of the environment; it prefixes every resource and is the tag Environment."
  type        = string
}

variable "network_cidr" {
  description = "IPv4 network of the environment, /16 to /24; hosts get addresses of its first /24."
  type        = string
}

variable "allowed_ssh_cidrs" {
  description = "IPv4 networks that may open SSH connections to the hosts; none where Session Manager reaches them."
  type        = list(string)

  validation {
    condition     = length(var.allowed_ssh_cidrs) > 0 || var.instance_profile != null
    error_message = "allowed_ssh_cidrs is empty, so nobody gets in: name your office's or VPN's network, such as 203.0.113.7/32, or have instance_profile for Session Manager."
  }
}

variable "instance_profile" {
  description = "Name of the hosts' instance profile, from the session_manager module, to be reached through it."
  type        = string
  default     = null
}

variable "ssh_public_key" {
  description = "Public half of the key that logs in first, one OpenSSH line. The private half never comes here."
  type        = string

  validation {
    condition     = can(regex("^(ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp[0-9]+) [A-Za-z0-9+/=]+( .*)?$", trimspace(var.ssh_public_key)))
    error_message = "ssh_public_key must be one OpenSSH public key line, what a .pub file holds, such as \"ssh-ed25519 AAAA... me@laptop\"."
  }
}

variable "ami" {
  description = "Image of new hosts: a fixed id, or the newest whose owner and name match."
  type = object({
    id    = optional(string)
    owner = optional(string, "136693071363") # Debian's own account
    name  = optional(string, "debian-12-amd64-*")
  })
  default = {}
}

variable "hosts" {
  description = "Hosts by role name: how many of each, their inventory groups, size, and disk for data."
  type = map(object({
    count         = optional(number, 1)
    groups        = list(string)
    instance_type = optional(string, "t3.large")
    disk_gib      = optional(number, 30)
    data_disk_gib = optional(number, 0)
    monitoring    = optional(bool, false)
  }))

  validation {
    condition     = alltrue([for spec in values(var.hosts) : spec.count >= 0 && floor(spec.count) == spec.count])
    error_message = "hosts: count must be a whole number, 0 or more."
  }
}
