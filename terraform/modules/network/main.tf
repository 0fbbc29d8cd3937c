# SPDX-License-Identifier: Apache-2.0
data "aws_availability_zones" "available" {
  # checkov:skip=CKV_AWS_394:A zone that AWS adds moves nothing that is there.
  state = "available"

  # Local zones and wavelength zones need an opt-in and lack most instance types.
  filter {
    name   = "opt-in-status"
    values = ["opt-in-not-required"]
  }
}

locals {
  tags      = { Environment = var.name, managed-by = "modelyard" }
  zone      = coalesce(var.availability_zone, sort(data.aws_availability_zones.available.names)[0])
  subnet    = cidrsubnet(var.cidr, 24 - tonumber(split("/", var.cidr)[1]), 0)
  web_ports = { http = 80, https = 443 }
}

resource "aws_vpc" "this" {
  # checkov:skip=CKV2_AWS_11:Paid by the gigabyte; who came is in the access log of the hosts' ingress.
  cidr_block = var.cidr
  tags       = merge(local.tags, { Name = var.name })
}

resource "aws_subnet" "public" {
  vpc_id            = aws_vpc.this.id
  cidr_block        = local.subnet
  availability_zone = local.zone
  # A host is reached at its Elastic IP, which stays the same when the host is replaced.
  map_public_ip_on_launch = false
  tags                    = merge(local.tags, { Name = "${var.name}-public" })

  lifecycle {
    ignore_changes = [availability_zone]
  }
}

resource "aws_internet_gateway" "this" {
  vpc_id = aws_vpc.this.id
  tags   = merge(local.tags, { Name = var.name })
}

resource "aws_route_table" "public" {
  vpc_id = aws_vpc.this.id
  tags   = merge(local.tags, { Name = "${var.name}-public" })
}

resource "aws_route" "internet" {
  route_table_id         = aws_route_table.public.id
  destination_cidr_block = "0.0.0.0/0"
  gateway_id             = aws_internet_gateway.this.id
}

resource "aws_route_table_association" "public" {
  subnet_id      = aws_subnet.public.id
  route_table_id = aws_route_table.public.id
}
