# SPDX-License-Identifier: Apache-2.0
module "yard" {
  source = "../.."

  name              = "staging"
  network_cidr      = "10.22.0.0/20"
  allowed_ssh_cidrs = ["203.0.113.0/24"]
  ssh_public_key    = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPBn5F0yPwJIQJk0pTGRPHRUbmzSd5cVYJ6GW1xFm2mV me@laptop"

  hosts = {
    core = { groups = ["tracking", "training", "monitoring"], data_disk_gib = 100 }
    app  = { groups = ["app"], count = 3, instance_type = "t3.medium" }
  }
}
