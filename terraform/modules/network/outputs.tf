# SPDX-License-Identifier: Apache-2.0
output "vpc_id" {
  description = "ID of the VPC."
  value       = aws_vpc.this.id
}

output "subnet_id" {
  description = "ID of the public subnet, where hosts go."
  # Whoever starts a host in the subnet finds its way out ready.
  depends_on = [aws_route.internet, aws_route_table_association.public]
  value      = aws_subnet.public.id
}

output "subnet_cidr" {
  description = "IPv4 network of the public subnet."
  value       = aws_subnet.public.cidr_block
}

output "availability_zone" {
  description = "Zone of the public subnet, where the hosts' disks must be too."
  value       = local.zone
}

output "security_group_id" {
  description = "ID of the security group of hosts."
  value       = aws_security_group.hosts.id
}
