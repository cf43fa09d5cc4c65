{{/* The name of everything. Whichever template comes first asks for it, and so what is wrong is said before anything trips over it. */}}
{{- define "gantry.name" -}}
{{- include "gantry.check" . }}
{{- ternary .Release.Name (printf "%s-gantry" .Release.Name) (contains "gantry" .Release.Name) | trunc 50 | trimSuffix "-" }}
{{- end }}

{{- define "gantry.selector" -}}
app.kubernetes.io/name: gantry
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: bridge
{{- end }}

{{- define "gantry.proxySelector" -}}
app.kubernetes.io/name: gantry
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: hashing-proxy
{{- end }}

{{- define "gantry.commonLabels" -}}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "gantry.labels" -}}
{{ include "gantry.selector" . }}
{{ include "gantry.commonLabels" . }}
{{- end }}

{{- define "gantry.image" -}}
{{- if .digest }}{{ .repository }}@{{ .digest }}{{ else }}{{ .repository }}:{{ .tag }}{{ end }}
{{- end }}

{{/* The port in "address:port". */}}
{{- define "gantry.portOf" -}}
{{- regexFind "[0-9]+$" . }}
{{- end }}

{{- define "gantry.httpPort" -}}
{{- include "gantry.portOf" .Values.config.http.listen }}
{{- end }}

{{- define "gantry.dimsePort" -}}
{{- include "gantry.portOf" .Values.config.dimse.listen }}
{{- end }}

{{/* The second DIMSE port, over TLS, if there is one. */}}
{{- define "gantry.dimseTlsPort" -}}
{{- with .Values.config.dimse.tls }}{{ with .listen }}{{ include "gantry.portOf" . }}{{ end }}{{ end }}
{{- end }}

{{/* Whether HTTP clients have to show certificates, which probes have none of. */}}
{{- define "gantry.wantsCertificates" -}}
{{- with .Values.config.http.tls }}{{ if eq (toString .client_certificates) "required" }}yes{{ end }}{{ end }}
{{- end }}

{{/* A duration of the configuration in whole seconds, rounded up. */}}
{{- define "gantry.seconds" -}}
{{- $number := regexFind "^[0-9]+" . | int64 }}
{{- if hasSuffix "ms" . }}{{ add (div (sub $number 1) 1000) 1 }}
{{- else if hasSuffix "h" . }}{{ mul $number 3600 }}
{{- else if hasSuffix "m" . }}{{ mul $number 60 }}
{{- else }}{{ $number }}{{ end }}
{{- end }}

{{- define "gantry.gracePeriod" -}}
{{- $drain := include "gantry.seconds" (.Values.config.http.drain_timeout | default "30s") | int64 }}
{{- $pause := .Values.preStopSeconds | int64 }}
{{- $needed := add $pause (mul 4 $drain) 5 }}
{{- if kindIs "invalid" .Values.terminationGracePeriodSeconds }}{{ $needed }}
{{- else }}
{{- $given := .Values.terminationGracePeriodSeconds | int64 }}
{{- if le $given (add $pause $drain) }}
{{- fail (printf "terminationGracePeriodSeconds: %d is not longer than preStopSeconds and config.http.drain_timeout together (%d s): what runs would be killed; %d lets everything end" $given (add $pause $drain) $needed) }}
{{- end }}
{{- $given }}
{{- end }}
{{- end }}

{{/* Whether the chart's nginx stands before the replicas. */}}
{{- define "gantry.hasProxy" -}}
{{- if and (gt (int .Values.replicas) 1) (or .Values.hashingProxy.enabled (and .Values.ingress.enabled (eq .Values.ingress.hashing "proxy"))) }}yes{{ end }}
{{- end }}

{{/* Whether ingress-nginx hashes by itself. */}}
{{- define "gantry.ingressNginxHashes" -}}
{{- if and .Values.ingress.enabled (eq .Values.ingress.hashing "ingress-nginx") (gt (int .Values.replicas) 1) }}yes{{ end }}
{{- end }}
