# SPDX-License-Identifier: Apache-2.0
variable "name" {
  description = "Name of the host: the tag Name and the host's name in the inventory."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,61}[a-z0-9]$", var.name))
    error_message = "name must be a host name: lower-case letters, digits and dashes, starting with a letter."
  }
}

variable "environment" {
  description = "Name of the environment that the host belongs to: the tag Environment."
  type        = string
}

variable "groups" {
  description = "Inventory groups of the host: the tag Groups."
  type        = list(string)

  validation {
    condition     = length(var.groups) > 0 && alltrue([for group in var.groups : can(regex("^[a-z][a-z0-9_]*$", group))])
    error_message = "groups needs at least one inventory group, each of lower-case letters, digits and underscores."
  }
}

variable "ami_id" {
  description = "Image that a new host starts from; a host that exists keeps its own."
  type        = string

  validation {
    condition     = can(regex("^ami-[0-9a-f]+$", var.ami_id))
    error_message = "ami_id must be the ID of an image, such as ami-0123456789abcdef0."
  }
}

variable "instance_type" {
  description = "EC2 instance type; it must have the processor architecture of the image."
  type        = string
  default     = "t3.large"
}

variable "disk_gib" {
  description = "Size of the encrypted root disk in GiB."
  type        = number
  default     = 30

  validation {
    condition     = var.disk_gib >= 10 && floor(var.disk_gib) == var.disk_gib
    error_message = "disk_gib must be a whole number of at least 10: images and models need the room."
  }
}

variable "data_disk_gib" {
  description = "Size in GiB of an encrypted disk of its own for the host's data; it outlives the instance. 0 is none."
  type        = number
  default     = 0

  validation {
    condition     = var.data_disk_gib >= 0 && floor(var.data_disk_gib) == var.data_disk_gib
    error_message = "data_disk_gib must be a whole number, 0 or more."
  }
}

variable "availability_zone" {
  description = "Zone of the subnet, from the network module; the data disk is made in it."
  type        = string
}

variable "monitoring" {
  description = "Whether CloudWatch measures every minute instead of every five (costs extra)."
  type        = bool
  default     = false
}

variable "subnet_id" {
  description = "ID of the subnet, from the network module."
  type        = string
}

variable "security_group_id" {
  description = "ID of the security group, from the network module."
  type        = string
}

variable "key_name" {
  description = "Name of the key pair that may log in first."
  type        = string
}

variable "instance_profile" {
  description = "Name of the instance profile, from the session_manager module; null gives the host no rights in AWS."
  type        = string
  default     = null
}
