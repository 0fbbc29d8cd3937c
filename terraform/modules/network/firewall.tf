# SPDX-License-Identifier: Apache-2.0
# AWS gives every network a default group whose members reach each other on all ports: emptied, so that
# something started without a group of its own can talk to nobody.
resource "aws_default_security_group" "empty" {
  vpc_id = aws_vpc.this.id
  tags   = merge(local.tags, { Name = "${var.name}-default" })
}

# Rules inside the group are all that it may have: one that somebody adds by hand is a difference that a plan shows
# and the next delivery takes back. Rules as resources of their own would leave it there unseen.
resource "aws_security_group" "hosts" {
  # checkov:skip=CKV_AWS_382:Hosts fetch packages, and certificates, from where these are.
  # checkov:skip=CKV2_AWS_5:The module host attaches it.
  name        = "${var.name}-hosts"
  description = "SSH from the allowed networks, HTTP and HTTPS from everywhere"
  vpc_id      = aws_vpc.this.id
  tags        = merge(local.tags, { Name = "${var.name}-hosts" })

  dynamic "ingress" {
    for_each = toset(var.allowed_ssh_cidrs)

    content {
      description = "SSH from ${ingress.value}"
      cidr_blocks = [ingress.value]
      protocol    = "tcp"
      from_port   = 22
      to_port     = 22
    }
  }

  dynamic "ingress" {
    for_each = local.web_ports

    content {
      description = "${upper(ingress.key)} from everywhere"
      cidr_blocks = ["0.0.0.0/0"]
      protocol    = "tcp"
      from_port   = ingress.value
      to_port     = ingress.value
    }
  }

  egress {
    description = "Everything out"
    cidr_blocks = ["0.0.0.0/0"]
    protocol    = "-1"
    from_port   = 0
    to_port     = 0
  }
}
