# SPDX-License-Identifier: Apache-2.0
# Runs, models, ledgers and backups are on a disk of their own: an instance that is made anew gets it back.
resource "aws_ebs_volume" "data" {
  # checkov:skip=CKV_AWS_189:The account's own key encrypts it; another would cost and be managed by the same people.
  count = var.data_disk_gib > 0 ? 1 : 0

  # Named, not asked of the instance: a disk whose zone is known only later would be replaced with the instance.
  availability_zone = var.availability_zone
  size              = var.data_disk_gib
  type              = "gp3"
  encrypted         = true
  tags              = merge(local.tags, { Name = "${var.name}-data" })

  lifecycle {
    # It ends by hand only, when nobody needs what is on it any more.
    prevent_destroy = true
    # What is first by name may be another when AWS adds a zone.
    ignore_changes = [availability_zone]
  }
}

resource "aws_volume_attachment" "data" {
  count = var.data_disk_gib > 0 ? 1 : 0

  # The inventory knows the disk by this name.
  device_name = "/dev/sdf"
  volume_id   = aws_ebs_volume.data[0].id
  instance_id = aws_instance.this.id
  # It ends with the instance only, which lets go of the disk by itself once it has shut down in order.
  skip_destroy = true
}
