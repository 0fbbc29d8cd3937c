# SPDX-License-Identifier: Apache-2.0
"""The HTTP service: Flask on Granian. Needs neither MLflow nor scikit-learn."""
