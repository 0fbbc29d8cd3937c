# SPDX-License-Identifier: Apache-2.0
# What the modules make of their variables, on a mocked AWS.
mock_provider "aws" {
  mock_data "aws_availability_zones" {
    defaults = { names = ["eu-central-1b", "eu-central-1a"] }
  }

  mock_data "aws_ami" {
    defaults = { id = "ami-0123456789abcdef0" }
  }

  mock_data "aws_iam_policy_document" {
    defaults = { json = "{}" }
  }

  mock_resource "aws_iam_openid_connect_provider" {
    defaults = { arn = "arn:aws:iam::123456789012:oidc-provider/token.actions.githubusercontent.com" }
  }
}

run "network_opens_three_ports_and_no_more" {
  module {
    source = "../../../terraform/modules/network"
  }

  variables {
    name              = "test"
    cidr              = "10.77.16.0/20"
    allowed_ssh_cidrs = ["192.0.2.0/24", "198.51.100.7/32"]
  }

  assert {
    condition = toset([
      for rule in aws_security_group.hosts.ingress : "${join(" ", rule.cidr_blocks)} ${rule.from_port}-${rule.to_port}"
    ]) == toset(["0.0.0.0/0 80-80", "0.0.0.0/0 443-443", "192.0.2.0/24 22-22", "198.51.100.7/32 22-22"])
    error_message = "HTTP and HTTPS must be open to everybody, SSH to the allowed networks, and nothing else."
  }

  assert {
    condition     = output.subnet_cidr == "10.77.16.0/24" && aws_subnet.public.availability_zone == "eu-central-1a"
    error_message = "The subnet must be the network's first /24, in the first zone by name."
  }

  assert {
    condition     = aws_subnet.public.map_public_ip_on_launch == false
    error_message = "Hosts are reached at their Elastic IP only."
  }
}

run "yard_counts_hosts" {
  module {
    source = "../../../terraform/modules/yard"
  }

  variables {
    name              = "test"
    network_cidr      = "10.77.0.0/24"
    allowed_ssh_cidrs = ["192.0.2.0/24"]
    ssh_public_key    = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAII a comment"
    hosts = {
      app  = { count = 2, groups = ["app"] }
      yard = { groups = ["tracking", "monitoring"] }
      gone = { count = 0, groups = ["app"] }
    }
  }

  assert {
    condition     = keys(output.hosts) == ["app-1", "app-2", "yard-1"]
    error_message = "A role of count n must be n hosts, numbered from 1."
  }

  assert {
    condition     = output.hosts["yard-1"].groups == tolist(["tracking", "monitoring"])
    error_message = "A host must have its role's groups."
  }
}

# Planned only: what must not be destroyed could not be taken away after the test.
run "host_is_hardened_and_says_what_it_is_for" {
  command = plan

  module {
    source = "../../../terraform/modules/host"
  }

  variables {
    name              = "yard-1"
    environment       = "test"
    groups            = ["tracking", "app"]
    ami_id            = "ami-0123456789abcdef0"
    data_disk_gib     = 30
    subnet_id         = "subnet-1"
    availability_zone = "eu-central-1a"
    security_group_id = "sg-1"
    key_name          = "test"
  }

  assert {
    condition     = aws_instance.this.metadata_options[0].http_tokens == "required"
    error_message = "IMDSv2 must be required."
  }

  assert {
    condition     = aws_instance.this.root_block_device[0].encrypted && aws_instance.this.root_block_device[0].volume_type == "gp3"
    error_message = "The root disk must be encrypted gp3."
  }

  assert {
    condition     = aws_ebs_volume.data[0].encrypted && aws_ebs_volume.data[0].availability_zone == "eu-central-1a"
    error_message = "The disk for data must be encrypted, in the subnet's zone."
  }

  assert {
    condition     = !aws_instance.this.monitoring
    error_message = "What costs extra must be off unless asked for."
  }

  assert {
    condition = aws_instance.this.tags == tomap({
      Name = "yard-1", Environment = "test", Groups = "tracking,app", managed-by = "modelyard"
    })
    error_message = "The inventory reads these tags."
  }
}

run "github_plans_from_pull_requests_and_applies_in_production" {
  module {
    source = "../../../terraform/modules/github_oidc"
  }

  variables {
    repository       = "acme/yard"
    region           = "eu-central-1"
    state_bucket_arn = "arn:aws:s3:::state"
  }

  assert {
    condition = {
      for role, document in data.aws_iam_policy_document.trust : role => flatten([
        for condition in document.statement[0].condition : condition.values if endswith(condition.variable, ":sub")
      ])
      } == {
      plan  = ["repo:acme/yard:pull_request", "repo:acme/yard:environment:preview"]
      apply = ["repo:acme/yard:environment:production"]
    }
    error_message = "Each role must trust whole subjects: its own and no other."
  }

  assert {
    condition = alltrue([
      for action in flatten(data.aws_iam_policy_document.plan.statement[*].actions) :
      can(regex("^(ec2:Describe|s3:Get|s3:List)", action))
    ])
    error_message = "The role of pull requests must only read."
  }

  assert {
    condition = !anytrue([
      for action in flatten(data.aws_iam_policy_document.apply.statement[*].actions) : startswith(action, "iam:")
    ])
    error_message = "A delivery must not be able to widen its own rights."
  }
}

run "github_reaches_hosts_through_session_manager_by_ssh_only" {
  module {
    source = "../../../terraform/modules/github_oidc"
  }

  variables {
    repository       = "acme/yard"
    region           = "eu-central-1"
    state_bucket_arn = "arn:aws:s3:::state"
    hosts_role_arn   = "arn:aws:iam::123456789012:role/modelyard-hosts"
  }

  assert {
    condition = [
      for statement in data.aws_iam_policy_document.apply.statement : statement.resources
      if anytrue([for action in statement.actions : startswith(action, "iam:")])
    ] == [toset([var.hosts_role_arn])]
    error_message = "A delivery must pass the hosts' role, and touch nothing else of IAM."
  }

  assert {
    condition = flatten([
      for statement in data.aws_iam_policy_document.tunnel[0].statement :
      [for resource in statement.resources : resource if strcontains(resource, ":document/")]
    ]) == ["arn:aws:ssm:*:*:document/AWS-StartSSHSession"]
    error_message = "No session but SSH's must be allowed: another could be a shell."
  }
}
