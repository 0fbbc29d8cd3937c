# SPDX-License-Identifier: Apache-2.0
# The rehearsal: the same modules as production, on an emulated AWS.
terraform {
  required_version = ">= 1.10"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 5.100"
    }
  }

  # The bucket is what terraform/bootstrap made: terraform init -backend-config=bucket=NAME
  backend "s3" {
    key          = "environments/rehearsal/terraform.tfstate"
    region       = "eu-central-1"
    use_lockfile = true
    encrypt      = true
  }
}

provider "aws" {
  region = "eu-central-1"
}

variable "ssh_public_key" {
  description = "Public half of the key that logs in first; TF_VAR_ssh_public_key or -var gives it."
  type        = string
}

variable "name" {
  description = "Name of the environment, in tags and names."
  type        = string
  default     = "rehearsal"
}

variable "network_cidr" {
  description = "IPv4 network of the environment, /16 to /24."
  type        = string
  default     = "10.77.0.0/24"
}

module "yard" {
  source = "../../modules/yard"

  name           = var.name
  network_cidr   = var.network_cidr
  ssh_public_key = var.ssh_public_key

  # Whoever rehearses sits at the edge of this very network.
  allowed_ssh_cidrs = [var.network_cidr]
  # Or none, and the profile that terraform/bootstrap makes for Session Manager.
  instance_profile = null
  # Of new hosts: {} is Debian's newest.
  ami = {}

  hosts = {
    yard = {
      count         = 1
      groups        = ["tracking", "training", "app", "monitoring"]
      instance_type = "t3.large"
      data_disk_gib = 30
    }
    # More hosts for the apps: one changed number.
    app = {
      count         = 0
      groups        = ["app"]
      instance_type = "t3.medium"
    }
  }
}

output "hosts" {
  description = "Hosts by name, with instance ID, addresses and inventory groups."
  value       = module.yard.hosts
}

output "subnet_cidr" {
  description = "IPv4 network that the hosts' private addresses belong to."
  value       = module.yard.subnet_cidr
}
