{{- define "headgate.name" -}}
{{- /* With -admin behind it, the name of a Service: at most 63 characters. */}}
{{- contains "headgate" .Release.Name | ternary .Release.Name (printf "%s-headgate" .Release.Name) | trunc 57 | trimSuffix "-" }}
{{- end }}

{{- define "headgate.selector" -}}
app.kubernetes.io/name: headgate
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end }}

{{- define "headgate.labels" -}}
{{ include "headgate.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}
