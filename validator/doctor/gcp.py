"""What has to stand in Google Cloud for a pod's identity to work, as commands. Pure: no Google API is asked.

Sources: Google's guides "Authenticate to Google Cloud APIs from GKE workloads" and "Configure Workload Identity
Federation with Kubernetes".
"""

from __future__ import annotations

import shlex

OBJECT_ROLE = "roles/storage.objectUser"
"""List, read, write and delete objects: what a backup needs."""

BUCKET_ROLE = "roles/storage.bucketViewer"
"""`storage.buckets.get`, which objectUser lacks: location and retention policy of the bucket."""


def bucket_command(bucket: str, member: str, role: str = OBJECT_ROLE) -> str:
    """Gives `member` (`serviceAccount:EMAIL` or `principal://…`) a role on the bucket."""
    return shlex.join(
        [
            *("gcloud", "storage", "buckets", "add-iam-policy-binding", f"gs://{bucket}"),
            *(f"--member={member}", f"--role={role}"),
        ]
    )


def gke_member(project: str, namespace: str, service_account: str) -> str:
    """How IAM names a Kubernetes service account of a GKE cluster with the project's own pool."""
    return f"serviceAccount:{project}.svc.id.goog[{namespace}/{service_account}]"


def pool_member(audience: str, subject: str) -> str:
    """How IAM names the subject of a workload identity pool, from the `audience` of an external_account file.

    The audience is `//iam.googleapis.com/projects/N/locations/global/workloadIdentityPools/P/providers/Q`.
    """
    return f"principal:{audience.partition('/providers/')[0]}/subject/{subject}"


def impersonation_command(google_service_account: str, member: str) -> str:
    """Lets `member` act as the Google service account."""
    return shlex.join(
        [
            *("gcloud", "iam", "service-accounts", "add-iam-policy-binding", google_service_account),
            *("--role=roles/iam.workloadIdentityUser", f"--member={member}"),
        ]
    )


def annotate_command(namespace: str, service_account: str, google_service_account: str) -> str:
    """Ties a Kubernetes service account to a Google one; the pods have to be restarted after it."""
    return shlex.join(
        [
            *("kubectl", "annotate", "serviceaccount", service_account, "--namespace", namespace, "--overwrite"),
            f"iam.gke.io/gcp-service-account={google_service_account}",
        ]
    )
