# SPDX-License-Identifier: Apache-2.0
# A pull request's plan looks, and locks nothing (`plan -lock=false`).
data "aws_iam_policy_document" "plan" {
  # checkov:skip=CKV_AWS_356:Describe calls are about no resource.
  statement {
    sid       = "SeeNetworkAndHosts"
    actions   = ["ec2:Describe*"]
    resources = ["*"]
  }

  statement {
    sid       = "FindState"
    actions   = ["s3:ListBucket"]
    resources = [var.state_bucket_arn]
  }

  statement {
    sid       = "ReadState"
    actions   = ["s3:GetObject"]
    resources = ["${var.state_bucket_arn}/environments/*"]
  }
}

# All that an environment is made of is EC2. No IAM: what a delivery may do is not for a delivery to change.
data "aws_iam_policy_document" "apply" {
  statement {
    sid       = "OwnNetworkAndHosts"
    actions   = ["ec2:*"]
    resources = ["*"]

    condition {
      test     = "StringEquals"
      variable = "aws:RequestedRegion"
      values   = [var.region]
    }
  }

  statement {
    sid       = "FindState"
    actions   = ["s3:ListBucket"]
    resources = [var.state_bucket_arn]
  }

  statement {
    sid       = "WriteStateAndLock"
    actions   = ["s3:GetObject", "s3:PutObject"]
    resources = ["${var.state_bucket_arn}/environments/*"]
  }

  statement {
    sid       = "ReleaseLock"
    actions   = ["s3:DeleteObject"]
    resources = ["${var.state_bucket_arn}/environments/*.tflock"]
  }
}
