# SPDX-License-Identifier: Apache-2.0
"""The bucket that Terraform's state lies in, before Terraform can look after it itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from .errors import DeliveryError

BUCKET_VARIABLE = "MODELYARD_STATE_BUCKET"


def name(env: Mapping[str, str]) -> str:
    """Return the state bucket's name: MODELYARD_STATE_BUCKET, else one made of the AWS account's number.

    :raises DeliveryError: AWS does not tell the account.
    """
    if env.get(BUCKET_VARIABLE):
        return env[BUCKET_VARIABLE]
    try:
        return f"modelyard-state-{client('sts', env).get_caller_identity()['Account']}"
    except (BotoCoreError, ClientError) as error:
        raise DeliveryError(
            f"AWS does not say whose account this is ({error}): give credentials and a region, by AWS_PROFILE and "
            "AWS_REGION or whatever else the AWS tools take"
        ) from error


def exists(s3: Any, name: str) -> bool:
    """Say whether the bucket is there.

    :raises DeliveryError: it is somebody else's.
    """
    try:
        s3.head_bucket(Bucket=name)
    except ClientError as error:
        status = error.response["ResponseMetadata"]["HTTPStatusCode"]
        if status == 404:
            return False
        raise DeliveryError(
            f"the state bucket {name} is not yours to use (HTTP {status}): set {BUCKET_VARIABLE} to another name"
        ) from error
    return True


def make(s3: Any, name: str) -> None:
    """Make the bucket, empty, in the client's region.

    :raises DeliveryError: S3 does not.
    """
    region = s3.meta.region_name
    # S3's oldest region is the one that must not be named.
    place = {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}
    try:
        s3.create_bucket(Bucket=name, **place)
    except ClientError as error:
        raise DeliveryError(f"S3 does not make the state bucket {name} in {region}: {error}") from error


def drop_dead_lock(s3: Any, name: str, environment: str) -> None:
    """Remove the lock that a killed Terraform left: a rehearsal's cloud is its yard's, and the yard is locked by us."""
    s3.delete_object(Bucket=name, Key=f"environments/{environment}/terraform.tfstate.tflock")


def client(service: str, environment: Mapping[str, str]) -> Any:
    """Return a boto3 client for the cloud that the environment names, the emulated one's too."""
    return boto3.client(
        service,
        endpoint_url=environment.get("AWS_ENDPOINT_URL"),
        region_name=environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION"),
        aws_access_key_id=environment.get("AWS_ACCESS_KEY_ID"),
        aws_secret_access_key=environment.get("AWS_SECRET_ACCESS_KEY"),
        aws_session_token=environment.get("AWS_SESSION_TOKEN") or None,
    )
