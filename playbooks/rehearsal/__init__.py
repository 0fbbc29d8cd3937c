# SPDX-License-Identifier: Apache-2.0
"""The rehearsal's stand-ins: an emulated cloud, and bodies for the instances that Terraform makes in it."""
