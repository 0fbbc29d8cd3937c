# SPDX-License-Identifier: Apache-2.0
output "bucket" {
  description = "Name of the state bucket."
  value       = module.state.bucket
}

output "github_roles" {
  description = "ARNs of the roles for GitHub's workflows, or null where no repository was named."
  value = one([for access in module.github_oidc : {
    plan  = access.plan_role_arn
    apply = access.apply_role_arn
  }])
}

output "instance_profile" {
  description = "Name of the instance profile for the environments, or null without Session Manager."
  value       = one(module.session_manager[*].instance_profile)
}
