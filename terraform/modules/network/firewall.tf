# SPDX-License-Identifier: Apache-2.0
# AWS gives every network a default group whose members reach each other on all ports: emptied, so that
# something started without a group of its own can talk to nobody.
resource "aws_default_security_group" "empty" {
  vpc_id = aws_vpc.this.id
  tags   = merge(local.tags, { Name = "${var.name}-default" })
}

resource "aws_security_group" "hosts" {
  name        = "${var.name}-hosts"
  description = "SSH from the allowed networks, HTTP and HTTPS from everywhere"
  vpc_id      = aws_vpc.this.id
  tags        = merge(local.tags, { Name = "${var.name}-hosts" })
}

resource "aws_vpc_security_group_ingress_rule" "ssh" {
  for_each = toset(var.allowed_ssh_cidrs)

  security_group_id = aws_security_group.hosts.id
  description       = "SSH from ${each.value}"
  cidr_ipv4         = each.value
  ip_protocol       = "tcp"
  from_port         = 22
  to_port           = 22
  tags              = merge(local.tags, { Name = "ssh" })
}

resource "aws_vpc_security_group_ingress_rule" "web" {
  for_each = local.web_ports

  security_group_id = aws_security_group.hosts.id
  description       = "${upper(each.key)} from everywhere"
  cidr_ipv4         = "0.0.0.0/0"
  ip_protocol       = "tcp"
  from_port         = each.value
  to_port           = each.value
  tags              = merge(local.tags, { Name = each.key })
}

resource "aws_vpc_security_group_egress_rule" "all" {
  security_group_id = aws_security_group.hosts.id
  description       = "Everything out"
  cidr_ipv4         = "0.0.0.0/0"
  ip_protocol       = "-1"
  tags              = merge(local.tags, { Name = "egress" })
}

# A rule that somebody adds by hand is a difference that a plan shows, and that the next delivery takes back.
resource "aws_vpc_security_group_rules_exclusive" "hosts" {
  security_group_id = aws_security_group.hosts.id
  ingress_rule_ids = [
    for rule in concat(values(aws_vpc_security_group_ingress_rule.ssh), values(aws_vpc_security_group_ingress_rule.web)) : rule.id
  ]
  egress_rule_ids = [aws_vpc_security_group_egress_rule.all.id]
}
