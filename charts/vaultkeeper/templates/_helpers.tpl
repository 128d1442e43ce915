{{- /* Beginning of every object's name: short enough for the longest suffix. */ -}}
{{- define "vaultkeeper.name" -}}
{{- default .Release.Name .Values.nameOverride | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{- define "vaultkeeper.operator" -}}{{ include "vaultkeeper.name" . }}-operator{{- end -}}
{{- define "vaultkeeper.injector" -}}{{ include "vaultkeeper.name" . }}-injector{{- end -}}

{{- /* Cluster-wide objects hold the namespace too, so that two releases do not meet. */ -}}
{{- define "vaultkeeper.clusterOperator" -}}{{ .Release.Namespace }}-{{ include "vaultkeeper.operator" . }}{{- end -}}
{{- define "vaultkeeper.clusterInjector" -}}{{ .Release.Namespace }}-{{ include "vaultkeeper.injector" . }}{{- end -}}

{{- /* Never versions: selectors cannot be changed. Argument: (list $ "operator"). */ -}}
{{- define "vaultkeeper.selector" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: vaultkeeper
app.kubernetes.io/instance: {{ $root.Release.Name | quote }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{- define "vaultkeeper.labels" -}}
{{- $root := index . 0 -}}
{{ include "vaultkeeper.selector" . }}
app.kubernetes.io/part-of: vaultkeeper
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" }}
{{- end -}}

{{- /* By which Alertmanager routes an alert. */ -}}
{{- define "vaultkeeper.alertLabels" -}}
{{- with .Values.monitoring.alerts.labels }}{{ toYaml . }}{{ end -}}
{{- end -}}

{{- /* Argument: (list $ .Values.operator.image). */ -}}
{{- define "vaultkeeper.image" -}}
{{- $root := index . 0 -}}
{{- $image := index . 1 -}}
{{- with $root.Values.image.registry -}}{{ . }}/{{- end -}}
{{- $image.repository -}}
{{- if $image.digest -}}
@{{ $image.digest }}
{{- else -}}
:{{ coalesce $image.tag $root.Values.image.tag $root.Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{- define "vaultkeeper.podSecurityContext" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "vaultkeeper.containerSecurityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{- /* Where the pods of one component go. Argument: (list $ "operator" .Values.operator). */ -}}
{{- define "vaultkeeper.placement" -}}
{{- $root := index . 0 -}}
{{- $component := index . 1 -}}
{{- $values := index . 2 -}}
{{- with $values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- else }}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "vaultkeeper.selector" (list $root $component) | nindent 8 }}
{{- end }}
{{- with $values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with $root.Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . | quote }}
  {{- end }}
{{- end }}
{{- end -}}
