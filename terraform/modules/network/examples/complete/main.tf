# SPDX-License-Identifier: Apache-2.0
module "network" {
  source = "../.."

  name              = "office"
  cidr              = "10.20.0.0/20"
  allowed_ssh_cidrs = ["203.0.113.0/24"]
}
