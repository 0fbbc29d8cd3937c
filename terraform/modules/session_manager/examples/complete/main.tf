# SPDX-License-Identifier: Apache-2.0
module "session_manager" {
  source = "../.."
}

module "yard" {
  source = "../../../yard"

  name              = "closed"
  network_cidr      = "10.23.0.0/20"
  allowed_ssh_cidrs = []
  instance_profile  = module.session_manager.instance_profile
  ssh_public_key    = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPBn5F0yPwJIQJk0pTGRPHRUbmzSd5cVYJ6GW1xFm2mV me@laptop"
  hosts             = { yard = { groups = ["tracking", "training", "app", "monitoring"] } }
}
