# SPDX-License-Identifier: Apache-2.0
locals {
  issuer = "token.actions.githubusercontent.com"
  tags   = { managed-by = "modelyard" }
  # The whole subject is compared, without wildcards. A job in one of GitHub's environments has that as its
  # subject, whatever its branch or event; that only main enters the environment is the environment's own rule.
  subjects = {
    plan  = ["repo:${var.repository}:pull_request", "repo:${var.repository}:environment:${var.preview_environment}"]
    apply = ["repo:${var.repository}:environment:${var.environment}"]
  }
  policies = {
    plan  = data.aws_iam_policy_document.plan.json
    apply = data.aws_iam_policy_document.apply.json
  }
}

# AWS trusts this issuer's certificate through its own list of authorities: no thumbprint to keep fresh.
resource "aws_iam_openid_connect_provider" "github" {
  url            = "https://${local.issuer}"
  client_id_list = ["sts.amazonaws.com"]
  tags           = local.tags
}

data "aws_iam_policy_document" "trust" {
  for_each = local.subjects

  statement {
    actions = ["sts:AssumeRoleWithWebIdentity"]

    principals {
      type        = "Federated"
      identifiers = [aws_iam_openid_connect_provider.github.arn]
    }

    condition {
      test     = "StringEquals"
      variable = "${local.issuer}:aud"
      values   = ["sts.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "${local.issuer}:sub"
      values   = each.value
    }
  }
}

resource "aws_iam_role" "this" {
  for_each = local.subjects

  name                 = "${var.name}-${each.key}"
  description          = "GitHub Actions of ${var.repository}: terraform ${each.key}"
  assume_role_policy   = data.aws_iam_policy_document.trust[each.key].json
  max_session_duration = 3600
  tags                 = local.tags
}

resource "aws_iam_role_policy" "this" {
  for_each = local.subjects

  name   = each.key
  role   = aws_iam_role.this[each.key].id
  policy = local.policies[each.key]
}
