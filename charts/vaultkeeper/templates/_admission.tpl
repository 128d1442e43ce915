{{- /*
Beginning of a ValidatingAdmissionPolicy that judges what one of our ServiceAccounts does; the rest of its spec follows.
Argument: (list $ "operator" "secrets").
*/ -}}
{{- define "vaultkeeper.policy" -}}
{{- $root := index . 0 -}}
{{- $component := index . 1 -}}
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata:
  name: {{ include "vaultkeeper.policyName" . }}
  labels:
    {{- include "vaultkeeper.labels" (list $root $component) | nindent 4 }}
spec:
  failurePolicy: Fail
  matchConditions:
    - name: by-the-{{ $component }}
      expression: >-
        request.userInfo.username ==
        'system:serviceaccount:{{ $root.Release.Namespace }}:{{ include (printf "vaultkeeper.%s" $component) $root }}'
{{- end -}}

{{- define "vaultkeeper.policyName" -}}
{{- $root := index . 0 -}}
{{ $root.Release.Namespace }}-{{ include (printf "vaultkeeper.%s" (index . 1)) $root }}-{{ index . 2 }}
{{- end -}}

{{- /* Its binding, which begins a document. Same argument. */ -}}
{{- define "vaultkeeper.policyBinding" -}}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata:
  name: {{ include "vaultkeeper.policyName" . }}
  labels:
    {{- include "vaultkeeper.labels" (list (index . 0) (index . 1)) | nindent 4 }}
spec:
  policyName: {{ include "vaultkeeper.policyName" . }}
  validationActions: [Deny]
{{- end -}}

{{- /* CEL: whether the pods of a StatefulSet reach for their node. Argument: object or oldObject. */ -}}
{{- define "vaultkeeper.reachesForTheNode" -}}
{{- $pod := printf "%s.spec.template.spec" . -}}
(has({{ $pod }}.hostNetwork) && {{ $pod }}.hostNetwork) ||
(has({{ $pod }}.hostPID) && {{ $pod }}.hostPID) ||
(has({{ $pod }}.hostIPC) && {{ $pod }}.hostIPC) ||
(has({{ $pod }}.volumes) && {{ $pod }}.volumes.exists(v, has(v.hostPath) && !(has(v.hostPath.type) && v.hostPath.type == 'Socket' &&
v.hostPath.path.matches('^(/[-_a-zA-Z0-9][-_.a-zA-Z0-9]*)*/(dev-|sys)?log([.]sock)?$')))) ||
({{ $pod }}.containers + (has({{ $pod }}.initContainers) ? {{ $pod }}.initContainers : [])).exists(c,
has(c.securityContext) && (
(has(c.securityContext.privileged) && c.securityContext.privileged) ||
(has(c.securityContext.capabilities) && has(c.securityContext.capabilities.add))))
{{- end -}}

{{- /*
CEL: whether a change of a Deployment, StatefulSet or DaemonSet is nothing but a restart of its pods, by the annotation
rotation.vaultkeeper.dev/credentials of their template. With dyn, since the three kinds have different fields. The annotation of a
DaemonSet that may change is written by the API server itself.
*/ -}}
{{- define "vaultkeeper.onlyRestarts" -}}
request.operation == 'UPDATE' && object.spec.template.spec == oldObject.spec.template.spec &&
{{- range list "labels" "finalizers" }}
dyn(object.spec.template.metadata).?{{ . }} == dyn(oldObject.spec.template.metadata).?{{ . }} &&
{{- end }}
{{- range list "replicas" "selector" "strategy" "updateStrategy" "paused" "minReadySeconds" "revisionHistoryLimit" "progressDeadlineSeconds" "persistentVolumeClaimRetentionPolicy" "volumeClaimTemplates" "ordinals" }}
dyn(object.spec).?{{ . }} == dyn(oldObject.spec).?{{ . }} &&
{{- end }}
{{- range list "labels" "ownerReferences" "finalizers" }}
dyn(object.metadata).?{{ . }} == dyn(oldObject.metadata).?{{ . }} &&
{{- end }}
{{- range $at, $free := dict "spec.template.metadata" "rotation.vaultkeeper.dev/credentials" "metadata" "deprecated.daemonset.template.generation" }}
dyn(object.{{ $at }}).?annotations.orValue({}).all(k, k == '{{ $free }}' ||
(k in dyn(oldObject.{{ $at }}).?annotations.orValue({}) &&
object.{{ $at }}.annotations[k] == oldObject.{{ $at }}.annotations[k])) &&
dyn(oldObject.{{ $at }}).?annotations.orValue({}).all(k, k in dyn(object.{{ $at }}).?annotations.orValue({})) &&
{{- end }}
true
{{- end -}}
