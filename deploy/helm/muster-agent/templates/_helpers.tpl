{{- define "muster-agent.labels" -}}
app.kubernetes.io/name: muster-agent
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "muster-agent.selector" -}}
app.kubernetes.io/name: muster-agent
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "muster-agent.name" -}}
{{- if contains "muster-agent" .Release.Name }}{{ .Release.Name | trunc 63 | trimSuffix "-" }}
{{- else }}{{ printf "%s-muster-agent" .Release.Name | trunc 63 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- /* Annotations of the service account: who this pod is in the cloud. */}}
{{- define "muster-agent.identity" -}}
{{- with .Values.azure.clientId }}
azure.workload.identity/client-id: {{ . | quote }}
{{- end }}
{{- with .Values.azure.tenantId }}
azure.workload.identity/tenant-id: {{ . | quote }}
{{- end }}
{{- with .Values.aws.roleArn }}
eks.amazonaws.com/role-arn: {{ . | quote }}
{{- end }}
{{- with .Values.gcp.serviceAccount }}
iam.gke.io/gcp-service-account: {{ . | quote }}
{{- end }}
{{- with .Values.serviceAccount.annotations }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- /* Ports that traffic leaves to: 443, the hub's, those of allowed endpoints. */}}
{{- define "muster-agent.ports" -}}
{{- $ports := list 443 }}
{{- range prepend .Values.storage.allowedEndpoints .Values.hub.url }}
{{- with regexFind ":[0-9]+$" (urlParse .).host }}{{ $ports = append $ports (trimPrefix ":" . | int) }}{{ end }}
{{- end }}
{{- $ports | uniq | toJson }}
{{- end }}
