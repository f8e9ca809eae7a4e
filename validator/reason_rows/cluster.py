"""Reasons about a cluster's API server and the credential for it."""

from __future__ import annotations

from validator.words import Health, Reason, ReasonInfo, Stage

_GONE, _BAD, _WARN = Health.UNREACHABLE, Health.UNHEALTHY, Health.DEGRADED

CLUSTER_ROWS: dict[Reason, ReasonInfo] = {
    Reason.DNS_NAME_NOT_FOUND: ReasonInfo(
        Stage.DNS,
        _GONE,
        False,
        "The API server's name does not exist in DNS.",
        "Check that {cluster} still exists and that {endpoint} is spelt right; a hibernated or deleted cluster "
        "loses its DNS record first. Refresh its kubeconfig.",
    ),
    Reason.DNS_TIMEOUT: ReasonInfo(
        Stage.DNS,
        _GONE,
        True,
        "No name server answered in time.",
        "Check the hub's resolvers (/etc/resolv.conf) and the way to them; if other clusters are fine, check the "
        "name servers of the zone of {endpoint}.",
    ),
    Reason.DNS_FAILURE: ReasonInfo(
        Stage.DNS,
        _GONE,
        True,
        "The name servers answered, but could not resolve the name (SERVFAIL, REFUSED, no address).",
        "Ask the owner of the DNS zone of {endpoint}; compare with `dig +trace`.",
    ),
    Reason.CONNECT_TIMEOUT: ReasonInfo(
        Stage.CONNECT,
        _GONE,
        True,
        "No answer to the TCP handshake: the host is down or a firewall drops packets.",
        "From the hub, try `nc -vz` to {endpoint}. Check firewalls, private-endpoint and IP allow-list settings of "
        "{cluster}, and whether its control plane runs.",
    ),
    Reason.CONNECTION_REFUSED: ReasonInfo(
        Stage.CONNECT,
        _GONE,
        True,
        "The host answers, but nothing listens on the port.",
        "Check that the API server of {cluster} runs and that the port of {endpoint} is right.",
    ),
    Reason.NETWORK_UNREACHABLE: ReasonInfo(
        Stage.CONNECT,
        _GONE,
        True,
        "There is no route from the hub to the address.",
        "Check the hub's routes (VPN, peering) to {endpoint}.",
    ),
    Reason.PROXY_FAILED: ReasonInfo(
        Stage.CONNECT,
        _GONE,
        True,
        "The proxy of this cluster's kubeconfig could not be used.",
        "Check `proxy-url` in the kubeconfig of {cluster}: only http:// proxies with CONNECT are spoken, and the "
        "proxy must allow {endpoint}.",
    ),
    Reason.ADDRESS_FAMILY_DOWN: ReasonInfo(
        Stage.CONNECT,
        _WARN,
        True,
        "The name has IPv4 and IPv6 addresses, and only one family answers.",
        "Clients that prefer the dead family are slow or fail. Repair it or remove its DNS record at {endpoint}.",
    ),
    Reason.TLS_TIMEOUT: ReasonInfo(
        Stage.TLS,
        _GONE,
        True,
        "TCP connects, but the TLS handshake is not answered: an overloaded API server or a silent middlebox.",
        "Check load and memory of the API server of {cluster}, and load balancers before {endpoint}.",
    ),
    Reason.TLS_HANDSHAKE_FAILED: ReasonInfo(
        Stage.TLS,
        _GONE,
        False,
        "What answers does not speak TLS, or no version and cipher in common.",
        "Check that {endpoint} is the API server's TLS port and that nothing in between answers in its place.",
    ),
    Reason.CERTIFICATE_EXPIRED: ReasonInfo(
        Stage.TLS,
        _BAD,
        False,
        "The server's certificate has expired; every client refuses it.",
        "Renew the serving certificate of {cluster} (kubeadm: `kubeadm certs renew apiserver`; Gardener: start "
        "credential rotation).",
    ),
    Reason.CERTIFICATE_NOT_YET_VALID: ReasonInfo(
        Stage.TLS,
        _BAD,
        True,
        "The server's certificate starts in the future: its clock or the hub's is wrong.",
        "Compare the clocks of the hub and of the control plane of {cluster} (NTP).",
    ),
    Reason.CERTIFICATE_UNTRUSTED: ReasonInfo(
        Stage.TLS,
        _BAD,
        False,
        "The server's certificate is not signed by the cluster's CA: CA rotated, wrong kubeconfig, or someone in "
        "between.",
        "Fetch a fresh kubeconfig for {cluster} and compare its certificate-authority-data. Do not skip verification.",
    ),
    Reason.CERTIFICATE_NAME_MISMATCH: ReasonInfo(
        Stage.TLS,
        _BAD,
        False,
        "The certificate is not for this name or address.",
        "Use a name that the certificate lists (see the evidence), or set `tls-server-name` in the kubeconfig of "
        "{cluster}.",
    ),
    Reason.CERTIFICATE_EXPIRING_SOON: ReasonInfo(
        Stage.TLS,
        _WARN,
        False,
        "The server's certificate expires within 14 days.",
        "Renew the serving certificate of {cluster} before the date in the evidence.",
    ),
    Reason.TLS_VERIFICATION_DISABLED: ReasonInfo(
        Stage.TLS,
        _WARN,
        False,
        "The kubeconfig says insecure-skip-tls-verify: anyone in between can answer and read the credential.",
        "Put the cluster's CA into `certificate-authority-data` of {cluster} and remove insecure-skip-tls-verify.",
    ),
    Reason.CLIENT_CERTIFICATE_REJECTED: ReasonInfo(
        Stage.TLS,
        _BAD,
        False,
        "The server ended the handshake because of the client certificate.",
        "Refresh the kubeconfig of {cluster}: its client certificate is expired, revoked or of another CA.",
    ),
    Reason.ANSWER_TIMEOUT: ReasonInfo(
        Stage.HTTP,
        _GONE,
        True,
        "TLS is up, but the HTTP answer did not come, or not whole, before the deadline.",
        "Check load, memory and etcd of the control plane of {cluster}.",
    ),
    Reason.CONNECTION_CLOSED: ReasonInfo(
        Stage.HTTP,
        _GONE,
        True,
        "The connection was closed or reset before a whole answer.",
        "Check restarts of the API server of {cluster} and idle time-outs of load balancers before {endpoint}.",
    ),
    Reason.MALFORMED_ANSWER: ReasonInfo(
        Stage.HTTP,
        _BAD,
        False,
        "The answer is not HTTP.",
        "Check what listens at {endpoint}; it is not a Kubernetes API server.",
    ),
    Reason.ANSWER_TOO_LARGE: ReasonInfo(
        Stage.HTTP,
        _BAD,
        False,
        "The answer is larger than any health answer is; it was cut off.",
        "Check what listens at {endpoint}; it is not a Kubernetes API server.",
    ),
    Reason.UNEXPECTED_REDIRECT: ReasonInfo(
        Stage.HTTP,
        _BAD,
        False,
        "The server redirects elsewhere; redirects are never followed, because the credential would follow too.",
        "Put the real API server's address into the kubeconfig of {cluster}; a login page or portal answers at "
        "{endpoint}.",
    ),
    Reason.UNEXPECTED_ANSWER: ReasonInfo(
        Stage.HTTP,
        _BAD,
        False,
        "It speaks HTTP, but not as a Kubernetes API server does.",
        "Check what listens at {endpoint}: a portal, another service, or a path prefix that is missing.",
    ),
    Reason.NOT_READY: ReasonInfo(
        Stage.HTTP,
        _BAD,
        True,
        "The API server says that it is not ready; the evidence lists the failing checks.",
        "Look at the failing checks in the evidence; `kubectl get --raw '/readyz?verbose'` on {cluster} has more.",
    ),
    Reason.SERVER_ERROR: ReasonInfo(
        Stage.HTTP,
        _BAD,
        True,
        "The API server answers with an internal error.",
        "Look at the API server's log of {cluster}.",
    ),
    Reason.SERVICE_UNAVAILABLE: ReasonInfo(
        Stage.HTTP,
        _BAD,
        True,
        "HTTP 503: a load balancer without a backend, or an API server that is shutting down.",
        "Check that the API server of {cluster} runs behind {endpoint}; Retry-After, where given, is honoured.",
    ),
    Reason.THROTTLED: ReasonInfo(
        Stage.HTTP,
        _WARN,
        True,
        "HTTP 429: the API server is alive and sheds load; Retry-After is honoured.",
        "Check API priority and fairness and the noisiest clients of {cluster}.",
    ),
    Reason.SLOW_ANSWER: ReasonInfo(
        Stage.HTTP,
        _WARN,
        True,
        "It answers, but takes so long that clients will soon time out.",
        "Check load of the control plane of {cluster} and the way to it; the stages in the evidence say where the "
        "time goes.",
    ),
    Reason.CLOCK_SKEW: ReasonInfo(
        Stage.HTTP,
        _WARN,
        False,
        "The server's clock and the hub's differ by so much that tokens and certificates will be refused.",
        "Check NTP on the control plane of {cluster}; if many clusters show this, check the hub's own clock.",
    ),
    Reason.READ_STALLED: ReasonInfo(
        Stage.READ,
        _BAD,
        True,
        "/readyz says ok, but reading one namespace hangs: its storage (etcd) is stuck behind a stale green.",
        "Check etcd of {cluster} (disk, quorum); `kubectl get --raw /livez?verbose` shows its etcd check.",
    ),
    Reason.READ_FAILED: ReasonInfo(
        Stage.READ,
        _BAD,
        True,
        "/readyz says ok, but reading one namespace fails with a server error.",
        "Check etcd and the API server's log of {cluster}.",
    ),
    Reason.CREDENTIAL_REJECTED: ReasonInfo(
        Stage.CREDENTIAL,
        _BAD,
        False,
        "The cluster answers, but does not accept the credential (401): expired, rotated or revoked.",
        "Fetch a fresh kubeconfig or token for {cluster}.",
    ),
    Reason.CREDENTIAL_UNAVAILABLE: ReasonInfo(
        Stage.CREDENTIAL,
        _BAD,
        True,
        "The credential could not be obtained: token file missing, or the exec plugin failed or hung.",
        "Run the exec plugin or read the token file by hand as the hub's user; the message says what it answered.",
    ),
    Reason.CREDENTIAL_INVALID: ReasonInfo(
        Stage.CREDENTIAL,
        _BAD,
        False,
        "The credential can't be used as it stands: broken base64, a key that does not fit its certificate, or a "
        "kind that is refused.",
        "Mend the user entry of {cluster} in its kubeconfig; the message names the field.",
    ),
    Reason.PERMISSION_DENIED: ReasonInfo(
        Stage.CREDENTIAL,
        _WARN,
        False,
        "The credential is accepted, but may not read the kube-system namespace (403), so a stale green cannot be "
        "ruled out.",
        "Bind the `muster-viewer` ClusterRole (get on the namespace kube-system) to the hub's user in {cluster}.",
    ),
}
