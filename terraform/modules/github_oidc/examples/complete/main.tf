# SPDX-License-Identifier: Apache-2.0
module "github_oidc" {
  source = "../.."

  repository       = "acme/yard"
  region           = "eu-central-1"
  state_bucket_arn = "arn:aws:s3:::modelyard-state-123456789012"
}
