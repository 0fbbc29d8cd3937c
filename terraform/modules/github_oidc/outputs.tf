# SPDX-License-Identifier: Apache-2.0
output "plan_role_arn" {
  description = "ARN of the role for pull requests: reads, changes nothing."
  value       = aws_iam_role.this["plan"].arn
}

output "apply_role_arn" {
  description = "ARN of the role for jobs in the environment: makes and changes the environments."
  value       = aws_iam_role.this["apply"].arn
}
