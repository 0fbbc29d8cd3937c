# SPDX-License-Identifier: Apache-2.0
output "hosts" {
  description = "Hosts by name, with instance ID, addresses and inventory groups."
  value = {
    for name, host in module.host : name => {
      id         = host.id
      private_ip = host.private_ip
      public_ip  = host.public_ip
      groups     = local.hosts[name].groups
    }
  }
}

output "subnet_cidr" {
  description = "IPv4 network that the hosts' private addresses belong to."
  value       = module.network.subnet_cidr
}

output "vpc_id" {
  description = "ID of the VPC."
  value       = module.network.vpc_id
}

output "security_group_id" {
  description = "ID of the hosts' security group."
  value       = module.network.security_group_id
}
