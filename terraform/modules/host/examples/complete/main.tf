# SPDX-License-Identifier: Apache-2.0
module "network" {
  source = "../../../network"

  name              = "single"
  cidr              = "10.21.0.0/20"
  allowed_ssh_cidrs = ["203.0.113.0/24"]
}

resource "aws_key_pair" "first_login" {
  key_name   = "single"
  public_key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPBn5F0yPwJIQJk0pTGRPHRUbmzSd5cVYJ6GW1xFm2mV me@laptop"
}

data "aws_ami" "debian" {
  owners      = ["136693071363"]
  most_recent = true

  filter {
    name   = "name"
    values = ["debian-12-amd64-*"]
  }
}

module "host" {
  source = "../.."

  name              = "yard-1"
  environment       = "single"
  groups            = ["tracking", "training", "app", "monitoring"]
  ami_id            = data.aws_ami.debian.id
  data_disk_gib     = 30
  subnet_id         = module.network.subnet_id
  availability_zone = module.network.availability_zone
  security_group_id = module.network.security_group_id
  key_name          = aws_key_pair.first_login.key_name
}
