# SPDX-License-Identifier: Apache-2.0
# What must be there before a commit can deliver anything: the state bucket and GitHub's way in.
# A person applies this, once, and again when it changes; README.md beside it says how.
terraform {
  required_version = ">= 1.10"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 5.100"
    }
  }

  # The state lives in the bucket that it describes. The bucket is made empty by one API call and adopted
  # below, so no moment exists in which the state lies on somebody's laptop only.
  backend "s3" {
    key          = "bootstrap/terraform.tfstate"
    use_lockfile = true
    encrypt      = true
  }
}

# The region is the caller's AWS_REGION.
provider "aws" {}

data "aws_region" "current" {}

import {
  to = module.state.aws_s3_bucket.this
  id = var.bucket
}

module "state" {
  source = "../modules/state"

  bucket = var.bucket
}

module "github_oidc" {
  source = "../modules/github_oidc"
  count  = var.repository == null ? 0 : 1

  repository       = var.repository
  region           = data.aws_region.current.name
  state_bucket_arn = module.state.bucket_arn
  hosts_role_arn   = one(module.session_manager[*].role_arn)
}

module "session_manager" {
  source = "../modules/session_manager"
  count  = var.session_manager ? 1 : 0
}
