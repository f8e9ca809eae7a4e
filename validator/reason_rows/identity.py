"""Reasons about workload identity: from the service account's annotation to the cloud's token.

AADSTS codes are Microsoft's ("Microsoft Entra authentication and authorization error codes", and the troubleshooting
page of azure-workload-identity). `fix` in the evidence has the exact command, with the names of *this* cluster.
"""

from __future__ import annotations

from validator.words import Health, Reason, ReasonInfo, Stage

_BAD = Health.UNHEALTHY

IDENTITY_ROWS: dict[Reason, ReasonInfo] = {
    Reason.FEDERATION_MISSING: ReasonInfo(
        Stage.IDENTITY,
        _BAD,
        True,
        "The identity trusts no token of this cluster's issuer (AADSTS70021, 700211): no federated credential, one "
        "whose issuer differs (a slash at its end counts), or one that was made minutes ago.",
        "Azure portal > the identity > Federated credentials: issuer exactly as `kubectl get --raw "
        "/.well-known/openid-configuration` on {cluster} says. Command: `az identity federated-credential create`. "
        "It takes some minutes to be seen.",
    ),
    Reason.FEDERATION_SUBJECT_MISMATCH: ReasonInfo(
        Stage.IDENTITY,
        _BAD,
        False,
        "The federated credential names another service account (AADSTS700213, 7002138, 7002131); case counts.",
        "Set its subject to `system:serviceaccount:NAMESPACE:NAME` of the pod that asks on {cluster}: `az identity "
        "federated-credential update --subject`.",
    ),
    Reason.IDENTITY_NOT_FOUND: ReasonInfo(
        Stage.IDENTITY,
        _BAD,
        False,
        "The client id is of no identity or app in this tenant (AADSTS700016).",
        "Compare the annotation azure.workload.identity/client-id with `az identity show --query clientId`, and "
        "azure.workload.identity/tenant-id with the identity's tenant; then restart the pods.",
    ),
    Reason.TENANT_NOT_FOUND: ReasonInfo(
        Stage.IDENTITY,
        _BAD,
        False,
        "The tenant does not exist in this cloud (AADSTS90002).",
        "Compare the annotation azure.workload.identity/tenant-id with `az account show --query tenantId`, and the "
        "location's environment (AzurePublicCloud, AzureChinaCloud) with the tenant's cloud.",
    ),
    Reason.WRONG_CLOUD: ReasonInfo(
        Stage.IDENTITY,
        _BAD,
        False,
        "The identity is of another national cloud than the location (AADSTS90038, 900382).",
        "Use an identity of the location's cloud, or correct the location's environment; one identity can't cross "
        "from Azure Global to Azure China.",
    ),
    Reason.ASSERTION_EXPIRED: ReasonInfo(
        Stage.IDENTITY,
        _BAD,
        True,
        "The projected service-account token had expired when it was shown (AADSTS700024), also after it was read "
        "anew.",
        "Check the clock of the node (NTP) and that the kubelet renews the token file; restart the pod on {cluster}.",
    ),
    Reason.ASSERTION_SIGNATURE_INVALID: ReasonInfo(
        Stage.IDENTITY,
        _BAD,
        True,
        "The signature of the service-account token does not fit the issuer's published keys (AADSTS700027): keys "
        "rotated, or another cluster behind the same issuer URL.",
        "Compare `kubectl get --raw /openid/v1/jwks` on {cluster} with the keys at the issuer's public URL and "
        "publish the new ones; Entra sees them within minutes.",
    ),
    Reason.ISSUER_UNREACHABLE: ReasonInfo(
        Stage.IDENTITY,
        _BAD,
        True,
        "The cloud can't fetch the cluster's OpenID configuration (AADSTS90061).",
        "The issuer of {cluster} must be reachable from the internet: `curl ISSUER/.well-known/openid-configuration` "
        "from elsewhere. Gardener: annotate the shoot authentication.gardener.cloud/issuer=managed.",
    ),
    Reason.ASSERTION_NOT_FEDERATED: ReasonInfo(
        Stage.IDENTITY,
        _BAD,
        False,
        "The token in the file was issued by Entra itself and can't be used as an assertion (AADSTS700222).",
        "AZURE_FEDERATED_TOKEN_FILE must point to the projected service-account token of {cluster}; remove an "
        "override of it in the pod's environment.",
    ),
    Reason.TRUST_POLICY_MISSING: ReasonInfo(
        Stage.IDENTITY,
        _BAD,
        False,
        "The role or service account of the cloud does not trust this cluster's service account (AWS: no OpenID "
        "Connect provider, or sts:AssumeRoleWithWebIdentity not allowed; Google: no workloadIdentityUser binding).",
        "AWS: `aws iam create-open-id-connect-provider` for the issuer of {cluster}, and its `:sub` and `:aud` in the "
        "role's trust policy. Google: `gcloud iam service-accounts add-iam-policy-binding --role "
        "roles/iam.workloadIdentityUser`. `fix` in the evidence has the text.",
    ),
    Reason.IDENTITY_UNAVAILABLE: ReasonInfo(
        Stage.IDENTITY,
        _BAD,
        False,
        "The asking pod has no cloud identity: the variables are not in its environment, its token file is absent, or "
        "the service that gives tokens refuses or does not answer.",
        "Set the identity in the agent's Helm values and restart the pod on {cluster}; `muster doctor` says which step "
        "is missing. The message names the variable or file.",
    ),
    Reason.WRONG_IDENTITY: ReasonInfo(
        Stage.IDENTITY,
        _BAD,
        False,
        "The pod got a token, but of another identity than it should have: most often it fell back to the node's role.",
        "Annotate the service account on {cluster} and restart the pod; the evidence has both identities. On AWS, "
        "block the node's metadata for pods (IMDS hop limit 1).",
    ),
    Reason.RESTART_NEEDED: ReasonInfo(
        Stage.IDENTITY,
        _BAD,
        False,
        "The pod was started before its service account was annotated, so nothing was injected into it.",
        "On {cluster}: `kubectl rollout restart` of the deployment in the evidence.",
    ),
    Reason.SERVICE_ACCOUNT_NOT_ANNOTATED: ReasonInfo(
        Stage.IDENTITY,
        _BAD,
        False,
        "The service account has no annotation that names its cloud identity.",
        "On {cluster}, `kubectl annotate serviceaccount` with azure.workload.identity/client-id, "
        "eks.amazonaws.com/role-arn or iam.gke.io/gcp-service-account, then restart the pods. For Stork, set it on the "
        "StorageCluster: the operator overwrites the service account.",
    ),
    Reason.POD_LABEL_MISSING: ReasonInfo(
        Stage.IDENTITY,
        _BAD,
        False,
        'The pod template lacks the label azure.workload.identity/use: "true", so the webhook leaves the pod alone.',
        "Add the label to the pod template of the deployment in the evidence on {cluster} (labels of the deployment "
        "itself do not count).",
    ),
    Reason.WEBHOOK_MISSING: ReasonInfo(
        Stage.IDENTITY,
        _BAD,
        False,
        "The webhook that injects the identity into pods is not installed, or leaves this namespace out (AKS leaves "
        "kube-system out).",
        "Azure: `az aks update --enable-oidc-issuer --enable-workload-identity`, elsewhere the Helm chart "
        "azure-workload-identity/workload-identity-webhook; AWS: amazon-eks-pod-identity-webhook. Then restart the "
        "pods on {cluster}.",
    ),
    Reason.TOKEN_AUDIENCE_WRONG: ReasonInfo(
        Stage.IDENTITY,
        _BAD,
        False,
        "The projected token is for another audience than the cloud asks for.",
        "Azure: api://AzureADTokenExchange (China: api://AzureADTokenExchangeChina); AWS: sts.amazonaws.com; EKS Pod "
        "Identity: pods.eks.amazonaws.com. Remove the override (annotation or projected volume) on {cluster}.",
    ),
    Reason.TOKEN_EXPIRED: ReasonInfo(
        Stage.IDENTITY,
        _BAD,
        False,
        "The projected token in the pod has expired and was not renewed.",
        "Restart the pod on {cluster}; if it happens again, look at the kubelet's log of its node.",
    ),
}
