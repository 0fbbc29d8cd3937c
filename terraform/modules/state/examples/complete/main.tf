# SPDX-License-Identifier: Apache-2.0
module "state" {
  source = "../.."

  bucket = "modelyard-state-123456789012"
}
