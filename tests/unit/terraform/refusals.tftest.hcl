# SPDX-License-Identifier: Apache-2.0
# What the modules refuse before anything is planned. Several variables a run: each run starts the provider.
mock_provider "aws" {
  mock_data "aws_availability_zones" {
    defaults = { names = ["eu-central-1a"] }
  }
}

run "network_refuses_ssh_from_everywhere" {
  command = plan

  module {
    source = "../../../terraform/modules/network"
  }

  variables {
    name              = "Yard"
    cidr              = "10.77.0.1/24"
    allowed_ssh_cidrs = ["10.0.0.0/8", "0.0.0.0/0", "128.0.0.0/1"]
  }

  expect_failures = [var.name, var.cidr, var.allowed_ssh_cidrs]
}

run "network_refuses_ssh_from_everywhere_by_ipv6" {
  command = plan

  module {
    source = "../../../terraform/modules/network"
  }

  variables {
    name              = "yard"
    cidr              = "10.77.0.0/8"
    allowed_ssh_cidrs = ["::/0"]
  }

  expect_failures = [var.cidr, var.allowed_ssh_cidrs]
}

run "host_refuses_what_is_no_host" {
  command = plan

  module {
    source = "../../../terraform/modules/host"
  }

  variables {
    name              = "yard_1"
    environment       = "test"
    groups            = []
    ami_id            = "debian-12"
    disk_gib          = 4
    data_disk_gib     = 0.5
    subnet_id         = "subnet-1"
    availability_zone = "eu-central-1a"
    security_group_id = "sg-1"
    key_name          = "test"
  }

  expect_failures = [var.name, var.groups, var.ami_id, var.disk_gib, var.data_disk_gib]
}

run "yard_refuses_a_private_key_and_to_let_nobody_in" {
  command = plan

  module {
    source = "../../../terraform/modules/yard"
  }

  variables {
    name              = "test"
    network_cidr      = "10.77.0.0/24"
    allowed_ssh_cidrs = []
    ssh_public_key    = "b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAE"
    hosts             = { app = { groups = ["app"], count = 1.5 } }
    ami               = { id = "ami-0123456789abcdef0" }
  }

  expect_failures = [var.ssh_public_key, var.hosts, var.allowed_ssh_cidrs]
}

run "github_gets_no_wildcards" {
  command = plan

  module {
    source = "../../../terraform/modules/github_oidc"
  }

  variables {
    repository          = "acme/*"
    environment         = "*"
    preview_environment = "pre*"
    region              = "eu-central-1"
    state_bucket_arn    = "arn:aws:s3:::state"
  }

  expect_failures = [var.repository, var.environment, var.preview_environment]
}
