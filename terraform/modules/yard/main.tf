# SPDX-License-Identifier: Apache-2.0
locals {
  # "app" with a count of 2 becomes app-1 and app-2: scaling out is one changed number.
  hosts = merge([
    for name, spec in var.hosts : { for number in range(1, spec.count + 1) : "${name}-${number}" => spec }
  ]...)
}

module "network" {
  source = "../network"

  name              = var.name
  cidr              = var.network_cidr
  allowed_ssh_cidrs = var.allowed_ssh_cidrs
}

resource "aws_key_pair" "first_login" {
  key_name   = var.name
  public_key = var.ssh_public_key
  tags       = { Name = var.name, Environment = var.name, managed-by = "modelyard" }
}

data "aws_ami" "newest" {
  count = var.ami.id == null ? 1 : 0

  owners      = [var.ami.owner]
  most_recent = true

  filter {
    name   = "name"
    values = [var.ami.name]
  }
}

module "host" {
  source   = "../host"
  for_each = local.hosts

  name              = each.key
  environment       = var.name
  groups            = each.value.groups
  instance_type     = each.value.instance_type
  disk_gib          = each.value.disk_gib
  data_disk_gib     = each.value.data_disk_gib
  monitoring        = each.value.monitoring
  ami_id            = var.ami.id == null ? data.aws_ami.newest[0].id : var.ami.id
  subnet_id         = module.network.subnet_id
  availability_zone = module.network.availability_zone
  security_group_id = module.network.security_group_id
  key_name          = aws_key_pair.first_login.key_name
  instance_profile  = var.instance_profile
}
