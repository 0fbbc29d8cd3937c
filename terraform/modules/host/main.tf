# SPDX-License-Identifier: Apache-2.0
locals {
  tags = {
    Name        = var.name
    Environment = var.environment
    Groups      = join(",", var.groups)
    managed-by  = "modelyard"
  }
}

resource "aws_instance" "this" {
  # checkov:skip=CKV_AWS_126:It costs extra, is a variable, and Prometheus measures the host.
  # checkov:skip=CKV2_AWS_41:A host needs no rights in AWS, unless Session Manager is to reach it.
  ami                    = var.ami_id
  instance_type          = var.instance_type
  subnet_id              = var.subnet_id
  vpc_security_group_ids = [var.security_group_id]
  key_name               = var.key_name
  iam_instance_profile   = var.instance_profile
  monitoring             = var.monitoring
  ebs_optimized          = true
  tags                   = local.tags

  # Tokens only, and one network hop: a container on the host cannot ask for the host's identity.
  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }

  root_block_device {
    encrypted   = true
    volume_type = "gp3"
    volume_size = var.disk_gib
    tags        = local.tags
  }

  lifecycle {
    # A newer image is for new hosts; it must not replace one that serves.
    ignore_changes = [ami]
  }
}

resource "aws_eip" "this" {
  domain   = "vpc"
  instance = aws_instance.this.id
  tags     = local.tags
}
