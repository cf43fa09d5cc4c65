{{/* Says what the values may not be, though each by itself is right. */}}
{{- define "gantry.check" -}}
{{- $replicas := int .Values.replicas }}
{{- $config := .Values.config }}
{{- if not $config.archive }}
{{- fail "config.archive: name at least one, such as --set config.archive.main.ae_title=PACS --set config.archive.main.address=pacs.example:104" }}
{{- end }}
{{- if not $config.auth }}
{{- fail "config.auth: say who may use DICOMweb (tokens, basic, oidc, certificates), or `mode: none` if something before this bridge does; docs/configuration.md has the keys" }}
{{- end }}
{{- if hasKey $config.dimse "move_ae_titles" }}
{{- fail "config.dimse.move_ae_titles: each replica names its own title; leave it out" }}
{{- end }}
{{- $last := printf "%s%d" $config.dimse.ae_title (sub $replicas 1) }}
{{- if gt (len $last) 16 }}
{{- fail (printf "config.dimse.ae_title: %s would be longer than the 16 characters of an AE title" $last) }}
{{- end }}
{{- range $listen := list $config.http.listen $config.dimse.listen }}
{{- if regexMatch "^(127\\.|\\[::1\\])" $listen }}
{{- fail (printf "config: %s is reached from within the pod alone; listen at 0.0.0.0 or [::]" $listen) }}
{{- end }}
{{- end }}
{{- range $key, $list := dict "addresses" .Values.service.replica.addresses "nodePorts" .Values.service.replica.nodePorts }}
{{- if and $list (lt (len $list) $replicas) }}
{{- fail (printf "service.replica.%s: %d for %d replicas" $key (len $list) $replicas) }}
{{- end }}
{{- end }}
{{- with .Values.ingress }}
{{- if and .enabled (not .host) }}
{{- fail "ingress.host: the name by which viewers reach DICOMweb" }}
{{- end }}
{{- end }}
{{- if and (include "gantry.hasProxy" .) $config.http.tls (not .Values.hashingProxy.upstreamTls.caSecretName) }}
{{- fail "hashingProxy.upstreamTls: with config.http.tls the proxy needs the Secret with the authority of that certificate (ca.crt), and a name that it is for" }}
{{- end }}
{{- with .Values.networkPolicy }}
{{- if and .enabled $.Values.serviceMonitor.enabled (not .metrics) (or .http (include "gantry.hasProxy" $)) }}
{{- fail "networkPolicy.metrics: say where Prometheus is, or it does not get in" }}
{{- end }}
{{- end }}
{{- if and (include "gantry.hasProxy" .) (include "gantry.wantsCertificates" .) }}
{{- fail "config.http.tls.client_certificates: the hashing proxy has none to show; choose \"optional\", or ingress.hashing: none" }}
{{- end }}
{{- end }}

{{/* gantry.toml. */}}
{{- define "gantry.toml" -}}
{{- $replicas := int64 .Values.replicas }}
{{- $config := deepCopy .Values.config }}
{{- range $name, $archive := $config.archive }}
{{- $total := $archive.max_associations | default 4 | int64 }}
{{- if lt $total $replicas }}
{{- fail (printf "config.archive.%s.max_associations: %d for %d replicas: each needs one. Ask for the archive's own limit, or have fewer replicas" $name $total $replicas) }}
{{- end }}
{{- $_ := set $archive "max_associations" (div $total $replicas) }}
{{- end }}
{{- /* Where nobody has to say who they are, the server wants to be asked by its own name. */}}
{{- if eq (toString $config.auth.mode) "none" }}
{{- $name := include "gantry.name" . }}
{{- $hosts := concat ($config.http.hosts | default list) (list $name (printf "%s.%s" $name .Release.Namespace) (printf "%s.%s.svc" $name .Release.Namespace)) }}
{{- with .Values.ingress.host }}{{ $hosts = append $hosts . }}{{ end }}
{{- $_ := set $config.http "hosts" (uniq $hosts) }}
{{- end }}
{{- include "gantry.integers" $config }}
{{- toToml $config }}
{{- end }}

{{/* Helm reads every number as a fraction; TOML tells 8 from 8.0. */}}
{{- define "gantry.integers" -}}
{{- range $key, $value := . }}
{{- if kindIs "map" $value }}
{{- include "gantry.integers" $value }}
{{- else if kindIs "slice" $value }}
{{- range $value }}{{ if kindIs "map" . }}{{ include "gantry.integers" . }}{{ end }}{{ end }}
{{- else if kindIs "float64" $value }}
{{- if eq $value (floor $value) }}{{ $_ := set $ $key (int64 $value) }}{{ end }}
{{- end }}
{{- end }}
{{- end }}

{{/* Every "host:port" that the bridge connects to, as JSON. */}}
{{- define "gantry.peers" -}}
{{- $peers := list }}
{{- range .Values.config.archive }}
{{- $peers = append $peers .address }}
{{- range .endpoint }}{{ $peers = append $peers .address }}{{ end }}
{{- end }}
{{- range .Values.config.ae }}{{ with .address }}{{ $peers = append $peers . }}{{ end }}{{ end }}
{{- with .Values.config.audit }}{{ with .syslog }}{{ $peers = append $peers .address }}{{ end }}{{ end }}
{{- with .Values.config.auth.oidc }}{{ $peers = append $peers (include "gantry.peerOfUrl" .issuer) }}{{ end }}
{{- with .Values.config.telemetry }}{{ with .otlp }}{{ $peers = append $peers (include "gantry.peerOfUrl" .) }}{{ end }}{{ end }}
{{- toJson (uniq $peers) }}
{{- end }}

{{/* "host:port" of a URL. */}}
{{- define "gantry.peerOfUrl" -}}
{{- $url := urlParse . }}
{{- if regexMatch ":[0-9]+$" $url.host }}{{ $url.host }}{{ else }}{{ $url.host }}:{{ ternary "80" "443" (eq $url.scheme "http") }}{{ end }}
{{- end }}

{{/* A CIDR for what is an IP address; empty for a name. */}}
{{- define "gantry.cidrOf" -}}
{{- if regexMatch "^[0-9]+(\\.[0-9]+){3}$" . }}{{ . }}/32
{{- else if contains ":" . }}{{ . }}/128
{{- end }}
{{- end }}

{{/* The host in "host:port". */}}
{{- define "gantry.hostOf" -}}
{{- regexReplaceAll ":[0-9]+$" . "" | trimPrefix "[" | trimSuffix "]" }}
{{- end }}
