# SPDX-License-Identifier: Apache-2.0
# A host with this profile is reached by SSH through AWS Session Manager: its agent calls out, and no port is open.
data "aws_iam_policy_document" "hosts" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["ec2.amazonaws.com"]
    }
  }
}

resource "aws_iam_role" "this" {
  name               = var.name
  description        = "Hosts that are reached through Session Manager"
  assume_role_policy = data.aws_iam_policy_document.hosts.json
  tags               = { managed-by = "modelyard" }
}

resource "aws_iam_role_policy_attachment" "agent" {
  role       = aws_iam_role.this.name
  policy_arn = "arn:aws:iam::aws:policy/AmazonSSMManagedInstanceCore"
}

resource "aws_iam_instance_profile" "this" {
  name = var.name
  role = aws_iam_role.this.name
  tags = { managed-by = "modelyard" }
}
