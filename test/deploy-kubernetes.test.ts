/** The manifests for Kubernetes fit their schemas, give a pod no rights, and hold no secret. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { test } from 'node:test'
import { Ajv } from 'ajv'
import { ROOT } from '../server/documents.ts'
import { breaches, documents, filesBelow, type Tree, text, words } from './support/deploy.ts'

const KUBERNETES = 'deploy/kubernetes'

const manifests = () =>
  filesBelow(KUBERNETES, /\.yaml$/)
    .filter(file => !/kustomization|prometheus-adapter/.test(file))
    .flatMap(file => documents(text(file)))
const kubernetes = new Ajv({ strict: false, validateFormats: false })
kubernetes.addSchema(JSON.parse(text('test/schemas/kubernetes-1.31.json')), 'kubernetes')
const KINDS: Record<string, string> = {
  Deployment: 'apps.v1',
  PodDisruptionBudget: 'policy.v1',
  HorizontalPodAutoscaler: 'autoscaling.v2',
  NetworkPolicy: 'networking.v1',
}
const manifestBreaches = (manifest: Tree) => {
  const kind = String(manifest.kind)
  return breaches(kubernetes, `kubernetes#/$defs/io.k8s.api.${KINDS[kind] ?? 'core.v1'}.${kind}`, manifest)
}
/** A kind of the Prometheus operator, which Kubernetes itself does not know. */
const ofKubernetes = (manifest: Tree) => String(manifest.kind) !== 'ServiceMonitor'

test('the manifests fit the schemas of Kubernetes', () => {
  const all = manifests().filter(ofKubernetes)
  assert.ok(all.length >= 8)
  assert.deepEqual(all.flatMap(manifestBreaches), [])
  const [deployment] = all.filter(({ kind }) => String(kind) === 'Deployment')
  const wrong = structuredClone(deployment) as Tree
  Object.assign(wrong.spec?.template?.spec as Tree, { terminationGracePeriod: 3 })
  assert.equal(manifestBreaches(wrong).length, 1)
})

test('kustomize puts together what fits the schemas, and leaves out no file', async t => {
  const [kustomization] = documents(text(`${KUBERNETES}/kustomization.yaml`))
  const listed = [...words(kustomization?.resources)].sort()
  const there = filesBelow(KUBERNETES, /^[^/]*\.yaml$/).map(file => file.slice(KUBERNETES.length + 1))
  assert.deepEqual(listed, there.filter(name => name !== 'kustomization.yaml').sort())
  if (spawnSync('which', ['kubectl']).status !== 0) return t.skip('kubectl is not installed')
  const { stdout, stderr, status } = spawnSync('kubectl', ['kustomize', join(ROOT, KUBERNETES)], { encoding: 'utf8' })
  assert.equal(status, 0, stderr)
  const built = documents(stdout)
  assert.ok(built.length >= 9)
  assert.deepEqual(built.flatMap(manifestBreaches), [])
  const services = built.filter(({ kind }) => String(kind) === 'Service')
  const labels = built.find(({ kind }) => String(kind) === 'Deployment')?.spec?.template?.metadata?.labels
  for (const service of services)
    for (const [label, value] of Object.entries(service.spec?.selector ?? {})) assert.equal(labels?.[label], value)
})

test('a pod has no rights, writes nowhere but in its volumes, and is not given variables of services', () => {
  const deployment = manifests().find(({ kind }) => String(kind) === 'Deployment')
  const pod = deployment?.spec?.template?.spec as Tree
  const container = pod.containers?.[0] as Tree
  // Kubernetes would set IM_MQTT_PORT and others after its services, and the server refuses what it does not know.
  assert.equal(pod.enableServiceLinks, false)
  assert.equal(pod.automountServiceAccountToken, false)
  assert.equal(pod.securityContext?.runAsNonRoot, true)
  assert.deepEqual(container.securityContext, {
    allowPrivilegeEscalation: false,
    readOnlyRootFilesystem: true,
    capabilities: { drop: ['ALL'] },
  })
  // preStop and the server's own end, each of 10 s.
  assert.ok(Number(pod.terminationGracePeriodSeconds) > 20)
  assert.equal(container.livenessProbe?.httpGet?.path, '/healthz')
  assert.equal(container.readinessProbe?.httpGet?.path, '/readyz')
  assert.equal(container.env?.[0]?.valueFrom?.fieldRef?.fieldPath, 'metadata.name')
})

test('secrets are named in the manifests and are in none', () => {
  assert.ok(manifests().every(({ kind }) => String(kind) !== 'Secret'))
  for (const file of filesBelow(KUBERNETES, /\.(yaml|env)$/))
    assert.doesNotMatch(text(file), /(password|token)\s*[:=]\s*["']?(?!\S*\/run\/secrets|metrics-token)\w{6,}/i, file)
})
