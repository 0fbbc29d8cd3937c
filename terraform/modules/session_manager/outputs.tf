# SPDX-License-Identifier: Apache-2.0
output "instance_profile" {
  description = "Name of the instance profile, for the yard module."
  # A host that starts with it finds its rights there.
  depends_on = [aws_iam_role_policy_attachment.agent]
  value      = aws_iam_instance_profile.this.name
}

output "role_arn" {
  description = "ARN of the hosts' role, for the github_oidc module."
  value       = aws_iam_role.this.arn
}
