# SPDX-License-Identifier: Apache-2.0
output "id" {
  description = "ID of the instance."
  value       = aws_instance.this.id
}

output "data_volume_id" {
  description = "ID of the volume with the host's data; null without one."
  value       = one(aws_ebs_volume.data[*].id)
}

output "private_ip" {
  description = "Address of the host in its subnet."
  value       = aws_instance.this.private_ip
}

output "public_ip" {
  description = "Elastic IP of the host."
  value       = aws_eip.this.public_ip
}
