# SPDX-License-Identifier: Apache-2.0
# A pull request's plan looks, and locks nothing (`plan -lock=false`).
data "aws_iam_policy_document" "plan" {
  source_policy_documents = data.aws_iam_policy_document.tunnel[*].json

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
  source_policy_documents = data.aws_iam_policy_document.tunnel[*].json

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

  # Hosts may be given the role that Session Manager needs, and no other.
  dynamic "statement" {
    for_each = var.hosts_role_arn[*]

    content {
      sid       = "StartHostsWithTheirRole"
      actions   = ["iam:PassRole"]
      resources = [statement.value]

      condition {
        test     = "StringEquals"
        variable = "iam:PassedToService"
        values   = ["ec2.amazonaws.com"]
      }
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

# A tunnel to the hosts' SSH, which asks for a key as it always does. Without the check of the document, a session
# could be the default one: a shell.
data "aws_iam_policy_document" "tunnel" {
  count = var.hosts_role_arn == null ? 0 : 1

  statement {
    sid       = "ReachHosts"
    actions   = ["ssm:StartSession"]
    resources = ["arn:aws:ec2:${var.region}:*:instance/*"]

    condition {
      test     = "StringEquals"
      variable = "ssm:resourceTag/managed-by"
      values   = ["modelyard"]
    }

    condition {
      test     = "BoolIfExists"
      variable = "ssm:SessionDocumentAccessCheck"
      values   = ["true"]
    }
  }

  statement {
    sid       = "BySsh"
    actions   = ["ssm:StartSession"]
    resources = ["arn:aws:ssm:*:*:document/AWS-StartSSHSession"]
  }

  statement {
    sid       = "EndOwnSessions"
    actions   = ["ssm:TerminateSession"]
    resources = ["arn:aws:ssm:*:*:session/$${aws:userid}-*"]
  }
}
